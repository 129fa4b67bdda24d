"""The samples that every part reads: random states in stores of both layouts, and the same as plain `.npy` files.

4096 samples of 5 states 3x32x32 in float16 (126 MB) in 8 shards; a small scale is for trying the scripts out.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.measure import progress
from storage import TrajectorySpec, join, missing_shards, open_store, open_writer, seal, store_uri
from storage.records.commits import read_commit

LAYOUTS = ("zarr", "webdataset")
TIMESTEPS = (999, 749, 499, 249, 0)
BATCH = 64
SHARDS = 8
BLOCKS_PER_SHARD = 4


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    samples: int = 4096
    """Of the store that most parts read."""
    times: int = 10
    """How many times larger a store is whose reading must not take more memory."""
    simulated_shards: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    computed_samples: int = 1024
    """That the embedded teacher computes."""
    solver_steps: int = 10
    training_steps: int = 120
    training_samples: int = 5120


SCALES = {
    "full": Scale(),
    "small": Scale(
        samples=512,
        times=4,
        simulated_shards=(100, 1_000, 10_000),
        computed_samples=256,
        solver_steps=4,
        training_steps=60,
        training_samples=1024,
    ),
}


def spec_of(layout: str, samples: int) -> TrajectorySpec:
    """The identity of the store of a layout in which so many samples make `SHARDS` shards."""
    shard_samples = samples // SHARDS
    return TrajectorySpec(
        teacher="random",
        fingerprint="0" * 64,
        sampler="ddim",
        deterministic=True,
        sampler_config={},
        solver_steps=20,
        timesteps=TIMESTEPS,
        signal=(0.0, 0.3, 0.6, 0.8, 1.0),
        sigma=(1.0, 0.9, 0.8, 0.6, 0.0),
        sample_shape=(3, 32, 32),
        base_seed=0,
        layout=layout,
        shard_samples=shard_samples,
        block_samples=shard_samples // BLOCKS_PER_SHARD,
    )


def filled_store(folder: Path, layout: str, samples: int) -> str:
    """The URI of a sealed store of random states, made now if it is not there."""
    root, spec = str(folder / "stores"), spec_of(layout, samples)
    missing = missing_shards(root, spec, samples)
    if missing:
        progress(f"  filling a {layout} store of {samples} samples")
    writer = open_writer(root, spec)
    for shard in missing:
        generator = np.random.default_rng(shard)
        shape = (spec.shard_samples, *spec.sample_shape)
        writer.write_shard(shard, {t: generator.standard_normal(shape, dtype=np.float32) for t in TIMESTEPS})
    seal(root, spec, samples)
    return store_uri(root, spec)


def repeated_store(folder: Path, layout: str, samples: int, times: int) -> str:
    """The URI of a store that holds the shards of `filled_store` several times over."""
    source = open_store(filled_store(folder, layout, samples))
    root, spec = str(folder / "repeated"), source.manifest.spec
    progress(f"  filling a {layout} store of {samples * times} samples")
    writer = open_writer(root, spec)
    for shard in missing_shards(root, spec, samples * times):
        of = shard % SHARDS
        start = shard * spec.shard_samples
        record = replace(read_commit(source.uri, of), shard=shard, start=start, stop=start + spec.shard_samples)
        writer.copy_shard(source.read_stored(of), record)
    seal(root, spec, samples * times)
    return store_uri(root, spec)


def array_files(folder: Path, samples: int) -> list[str]:
    """The same states as one `.npy` file per timestep, made now if they are not there."""
    paths = [folder / f"t{t:04d}.npy" for t in TIMESTEPS]
    store = open_store(filled_store(folder, "zarr", samples))
    for t, path in zip(TIMESTEPS, paths, strict=True):
        if not path.exists():
            np.save(path, np.concatenate([store.read_shard(shard, [t])[t] for shard in range(SHARDS)]))
    return [str(path) for path in paths]


def object_uris(uri: str, *, data_only: bool) -> list[str]:
    """The objects of all shards of a store; with `data_only` without the indices that lie beside tars."""
    index = open_store(uri).manifest.shards
    keys = [entry.key for shard in range(len(index)) for entry in index.entries(shard)]
    return [join(uri, key) for key in keys if not (data_only and key.endswith(".json"))]
