"""Precompute: every sample from its own noise, once, and nothing published that is not right."""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from advkd.device import torch_threads
from advkd.diffusion import Start
from advkd.teachers import SolverSpec, TeacherError, load_teacher
from advkd.trajectories import (
    Filling,
    PrecomputeSpec,
    cached_teacher,
    precompute,
    seal_store,
    trajectory_spec,
    what_is_missing,
)
from storage import NonFiniteError, StoreIncompleteError, digest, list_stores, open_store, verify
from storage.records.commits import read_commit
from storage.records.seeding import initial_noise, solver_seeds
from tests.advkd.conftest import FolderMaker, mixture_spec


def contents(uri: str) -> dict[str, tuple[str, int]]:
    """Key -> (sha256, mtime in ns) of every object of a store but the manifest and the layout's metadata."""
    root = Path(uri)
    return {
        path.relative_to(root).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def hashes(uri: str) -> dict[str, str]:
    """Key -> sha256 of the shards' data."""
    keys = {entry.key for i in range(open_store(uri).manifest.num_shards) for entry in entries(uri, i)}
    return {key: found for key, (found, _) in contents(uri).items() if key in keys}


def entries(uri: str, shard: int) -> list[object]:
    return list(open_store(uri).manifest.shards.entries(shard))


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_a_store_holds_the_teachers_states(tmp_path: Path, layout: str) -> None:
    spec = mixture_spec(tmp_path, format=layout, samples=20)
    result = precompute(spec)
    assert (result.num_samples, result.shards, result.computed) == (20, 2, 2)
    manifest = open_store(result.uri).manifest
    assert manifest.spec.timesteps == (999, 499, 0)
    assert manifest.spec.deterministic
    states = open_store(result.uri).read_samples(range(20))
    noise = initial_noise(0, 0, 20, (1, 16, 16))
    np.testing.assert_array_equal(states[999], noise)
    expected = load_teacher("mixture").states(Start(torch.from_numpy(noise)), spec.solver, (999, 499, 0))
    for timestep, theirs in zip((999, 499, 0), expected, strict=True):
        np.testing.assert_allclose(states[timestep], theirs.numpy(), rtol=1e-5, atol=1e-5)
    assert not verify(result.uri)


@pytest.mark.thorough
@pytest.mark.parametrize("noise", ["stored", "seeded"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_the_pair_is_a_pair(tmp_path: Path, teacher_folder: FolderMaker, layout: str, dtype: str, noise: str) -> None:
    """Law 9: whoever takes the noise from a store and runs the teacher gets the stored states, bit for bit."""
    folder = teacher_folder()
    spec = mixture_spec(
        tmp_path / "stores", teacher=str(folder), samples=16, format=layout, dtype=dtype, noise=noise, block_samples=8
    )
    states = open_store(precompute(spec).uri).read_samples(range(16))
    teacher = load_teacher(str(folder))
    for rows in (slice(0, 8), slice(8, 16)):
        start = Start(torch.from_numpy(states[999][rows].astype(np.float32)))
        with torch_threads(1):
            again = list(teacher.states(start, spec.solver, (999, 499, 0)))
        for timestep, theirs in zip((999, 499, 0), again, strict=True):
            assert states[timestep].dtype == dtype
            np.testing.assert_array_equal(states[timestep][rows], theirs.numpy().astype(dtype))


def test_the_number_of_samples_changes_no_sample(tmp_path: Path) -> None:
    """Teachers run whole blocks, so a store of fewer samples has the same bytes as far as it goes."""
    few = precompute(mixture_spec(tmp_path / "few", samples=3))
    many = precompute(mixture_spec(tmp_path / "many", samples=48))
    assert few.digest == many.digest
    assert hashes(few.uri).items() <= hashes(many.uri).items()
    assert open_store(few.uri).manifest.num_samples == 3


def test_blocks_change_values_by_rounding_only(tmp_path: Path) -> None:
    one, other = (
        open_store(precompute(mixture_spec(tmp_path, block_samples=block)).uri).read_samples(range(48))
        for block in (4, 16)
    )
    for timestep in one:
        np.testing.assert_allclose(one[timestep], other[timestep], rtol=1e-5, atol=1e-6)


def test_a_second_run_computes_nothing_and_touches_nothing(tmp_path: Path) -> None:
    first = precompute(mixture_spec(tmp_path))
    before = contents(first.uri)
    calls: list[tuple[int, int]] = []
    second = precompute(mixture_spec(tmp_path), lambda done, total: calls.append((done, total)))
    assert second.computed == 0
    assert second.uri == first.uri
    assert calls == []
    assert contents(second.uri) == before


def test_an_extension_keeps_the_objects_that_are_there(tmp_path: Path) -> None:
    first = precompute(mixture_spec(tmp_path, samples=20))
    before = {key: value for key, value in contents(first.uri).items() if key in hashes(first.uri)}
    time.sleep(0.01)
    second = precompute(mixture_spec(tmp_path, samples=40))
    assert (second.uri, second.computed, second.shards, second.num_samples) == (first.uri, 1, 3, 40)
    after = contents(second.uri)
    assert {key: after[key] for key in before} == before
    # What was reused took no pass and wrote nothing: the passes are those of the shard that is new.
    manifest = open_store(second.uri).manifest
    new = sum(entry.size for entry in read_commit(second.uri, 2).objects)
    assert (second.computed_samples, second.bytes_written) == (manifest.spec.shard_samples, new)
    assert second.passes == manifest.spec.shard_samples * manifest.spec.solver_steps
    assert (first.passes, first.bytes_written) == (2 * second.passes, manifest.total_bytes - new)
    smaller = precompute(mixture_spec(tmp_path, samples=5))
    assert (smaller.computed_samples, smaller.passes, smaller.bytes_written) == (0, 0, 0)
    assert (smaller.computed, smaller.num_samples) == (0, 40)


def test_an_interrupted_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    spec = mixture_spec(tmp_path)
    Filling.of(spec).compute(1)
    assert what_is_missing(spec)[1] == [0, 2]
    with pytest.raises(StoreIncompleteError, match="2 of 3 are missing"):
        seal_store(spec)
    assert [one.state for one in list_stores(str(tmp_path))] == ["growing"]
    assert precompute(spec).computed == 2


def test_two_threads_write_the_same_bytes_as_one(tmp_path: Path, teacher_folder: FolderMaker) -> None:
    folder = str(teacher_folder())
    alone = mixture_spec(tmp_path / "one", teacher=folder, samples=64)
    together = replace(alone, store=str(tmp_path / "two"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda index: Filling.of(together).compute(index), [3, 0, 2, 1]))
    seal_store(together)
    uri = list_stores(together.store)[0].uri
    assert hashes(uri) == hashes(precompute(alone).uri)


def test_progress_counts_the_samples_to_compute(tmp_path: Path) -> None:
    spec = mixture_spec(tmp_path)
    Filling.of(spec).compute(0)
    calls: list[tuple[int, int]] = []
    precompute(spec, lambda done, total: calls.append((done, total)))
    assert calls == [(8, 32), (16, 32), (24, 32), (32, 32)]


def test_ancestral_trajectories_are_reproducible_and_marked_stochastic(tmp_path: Path) -> None:
    spec = mixture_spec(tmp_path / "a", solver=SolverSpec(kind="ddpm", steps=4), samples=16)
    one, two = precompute(spec), precompute(replace(spec, store=str(tmp_path / "b")))
    assert hashes(one.uri) == hashes(two.uri)
    assert not open_store(one.uri).manifest.spec.deterministic
    states = open_store(one.uri).read_samples(range(16))
    noise = torch.from_numpy(initial_noise(0, 0, 16, (1, 16, 16)))
    *_, clean = load_teacher("mixture").states(Start(noise), spec.solver, (999, 499, 0), solver_seeds(0, 0, 16))
    np.testing.assert_allclose(states[0], clean.numpy(), rtol=1e-4, atol=1e-4)


def test_everything_that_changes_the_trajectories_changes_the_digest(tmp_path: Path) -> None:
    spec = mixture_spec(tmp_path)
    changes = [
        {},
        {"seed": 1},
        {"solver": SolverSpec(steps=8)},
        {"solver": SolverSpec(kind="ddpm", steps=4)},
        {"captures": 4},
        {"timesteps": (749,)},
        {"dtype": "float16"},
        {"format": "webdataset"},
        {"shard_samples": 32},
        {"block_samples": 16},
    ]
    digests = {precompute_digest(replace(spec, **change)) for change in changes}
    assert len(digests) == len(changes)
    assert precompute_digest(replace(spec, samples=999, store="/elsewhere")) in digests


def precompute_digest(spec: PrecomputeSpec) -> str:
    return digest(trajectory_spec(spec, cached_teacher(spec.teacher, spec.device)))


def test_timesteps_and_captures_that_say_the_same_are_one_store(tmp_path: Path) -> None:
    assert precompute_digest(mixture_spec(tmp_path, captures=2)) == precompute_digest(
        mixture_spec(tmp_path, timesteps=(999, 499, 0), captures=3)
    )


def spoil(folder: Path, value: float) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_out.bias"] = torch.full_like(tensors["conv_out.bias"], value)
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (float("nan"), "float32", r"timestep 499, samples \d+ to \d+: got NaN or infinity.*; check the teacher"),
        (float("inf"), "float32", "got NaN or infinity"),
        (1e6, "float16", r"overflow of float16.*; store float32"),
    ],
)
def test_a_teacher_that_fails_leaves_nothing_behind(
    tmp_path: Path, teacher_folder: FolderMaker, value: float, dtype: str, message: str
) -> None:
    folder = teacher_folder(prediction_type="sample")
    spoil(folder, value)
    spec = mixture_spec(tmp_path / "stores", teacher=str(folder), dtype=dtype)
    with pytest.raises(NonFiniteError, match=message):
        precompute(spec)
    assert list_stores(spec.store) == []
    assert what_is_missing(spec)[1] == [0, 1, 2]


def test_a_folder_without_weights_makes_no_store(tmp_path: Path, teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(TeacherError, match="needs weights"):
        precompute(mixture_spec(tmp_path / "stores", teacher=str(folder)))
    assert not (tmp_path / "stores").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, r"PrecomputeSpec\.samples must be positive, got 0"),
        ({"samples": -4}, r"PrecomputeSpec\.samples must be positive, got -4"),
        ({"captures": 0}, r"PrecomputeSpec\.captures must be positive"),
        ({"captures": 5}, r"captures must lie in \[1, 4\]"),
        ({"block_samples": 0}, r"PrecomputeSpec\.block_samples must be positive"),
        ({"shard_samples": 0}, "shard_samples must be a positive multiple"),
        ({"shard_samples": 12}, r"positive multiple of block_samples \(8\), got 12"),
        ({"seed": -1}, r"base seed must lie in \[0, 2\*\*63\), got -1"),
        ({"dtype": "bfloat16"}, r"PrecomputeSpec\.dtype must be one of .* got 'bfloat16'"),
        ({"format": "lmdb"}, r"PrecomputeSpec\.format must be one of .* got 'lmdb'"),
        ({"timesteps": (0, 499)}, "strictly decreasing"),
        ({"timesteps": (1200, 0)}, r"must lie in \[0, 999\]"),
        ({"timesteps": (500, 0)}, "must be on the grid of the solver"),
        ({"teacher": "digit"}, "which is none of them"),
        ({"device": "warp"}, "device must be"),
    ],
)
def test_bad_specs_are_refused_before_anything_is_written(
    tmp_path: Path, teacher_folder: FolderMaker, changes: dict[str, object], message: str
) -> None:
    folder = tmp_path / "stores"
    teacher = {"teacher": str(teacher_folder())} if "device" in changes else {}
    with pytest.raises(ValueError, match=message):
        precompute(mixture_spec(folder, **teacher, **changes))
    assert not folder.exists()


def test_default_shards_are_whole_blocks(tmp_path: Path) -> None:
    spec = mixture_spec(tmp_path, shard_samples=None, block_samples=100)
    identity = trajectory_spec(spec, cached_teacher("mixture", "cpu"))
    assert identity.shard_samples % 100 == 0
    assert json.loads(json.dumps(identity.to_json())) == identity.to_json()


def test_workers_write_the_bytes_of_one_and_report_every_sample(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = [
        precompute(
            PrecomputeSpec(
                teacher="mixture", store=str(tmp_path / name), samples=64, shard_samples=16, block_samples=8
            ),
            lambda done, total: seen.append((done, total)),
            workers,
        )
        for name, workers in (("one", 1), ("three", 3))
    ]
    first, second = (hashes(one.uri) for one in made)
    assert len(first) == 4 * len(open_store(made[0].uri).manifest.shards.templates)
    assert first == second
    assert seen[-1] == (64, 64)
