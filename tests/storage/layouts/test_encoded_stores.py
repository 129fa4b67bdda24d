"""Whole stores of every encoding: the error is in the manifest, and seeded noise is the noise that is not stored."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    Manifest,
    ShardCorruptError,
    TrajectoryLoader,
    TrajectorySpec,
    ValueRangeError,
    join,
    list_prefix,
    open_store,
    open_writer,
    read_bytes,
    seal,
    store_uri,
    verify,
)
from storage.records import unstored_noise as seeded_noise_module
from storage.records.seeding import initial_noise
from storage.testing.damage import examples, fresh
from storage.testing.oracles import assert_holds, assert_same_batches, assert_states, shown_states
from storage.testing.trajectories import fill, make_spec, shard_states
from tests.storage.conftest import EVERYWHERE
from tests.storage.records.test_encoding import assert_statistics

pytestmark = pytest.mark.timeout(300)
SEEDED: dict[str, Any] = {"noise": "seeded", "signal": (0.0, 0.5, 1.0), "sigma": (1.0, 0.8, 0.0)}
"""The pretend teacher's first state is then the noise itself."""
NUM_SAMPLES = 21


@st.composite
def encodings(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a spec: any dtype, resolutions, and ranges that hold the pretend teacher's later states."""
    sizes = st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
    later = st.none() | st.tuples(st.floats(-9.0, -6.0), st.floats(6.0, 9.0))
    clean = st.none() | st.tuples(st.floats(-3.0, -1.0), st.floats(1.0, 3.0))
    return {
        "dtype": draw(st.sampled_from(["float16", "float32"])),
        "resolutions": draw(st.none() | st.tuples(sizes, sizes, sizes)),
        "uint8_ranges": (None, draw(later), draw(clean)),
    } | (SEEDED if draw(st.booleans()) else {})


class TestEveryStore:
    """Both layouts."""

    @pytest.mark.thorough
    def test_the_manifest_tells_the_error_of_every_encoding(self, root: str, spec: TrajectorySpec) -> None:
        """Equal to that of all stored values, the hidden tail included, and within the bound of the encoding."""

        @examples(root, local=15)
        @given(fields=encodings())
        def property_(fields: dict[str, Any]) -> None:
            one, place = make_spec(layout=spec.layout, **fields), fresh(root)
            manifest, uri = fill(place, one, NUM_SAMPLES), store_uri(place, one)
            assert_holds(uri, one, NUM_SAMPLES)
            given_states = _all(one, [shard_states(one, shard) for shard in range(3)])
            stored = _all(one, [open_store(uri).read_stored(shard) for shard in range(3)])
            for t in one.timesteps:
                found, encoding = manifest.statistics[t], one.encoding(t)
                assert stored[t].dtype.name == encoding.stored_dtype
                assert_statistics(found, given_states[t], encoding.decode(stored[t]))
                largest = float(np.abs(encoding.reduced(given_states[t])).max())
                assert 0 <= found.max_error <= encoding.error_bound(largest)
                in_full = encoding.shape == one.sample_shape
                rounded_before = t == one.timesteps[0] and one.signal[0] == 0.0
                assert (found.max_error == 0) == (in_full and (rounded_before or encoding.stored_dtype == "float32"))
                assert (found.rms_detail == 0) == in_full

        property_()

    def test_seeded_noise_is_the_stored_noise_to_the_bit(self, root: str, spec: TrajectorySpec) -> None:
        @examples(root, local=6)
        @given(
            dtype=st.sampled_from(["float16", "float32"]),
            size=st.sampled_from([(4, 4), (2, 4), (1, 1)]),
            seed=st.integers(0, 2**63 - 1),
            data=st.data(),
        )
        def property_(dtype: str, size: tuple[int, int], seed: int, data: st.DataObject) -> None:
            place, fields = fresh(root), {"layout": spec.layout, "dtype": dtype, "base_seed": seed}
            fields |= SEEDED | {"resolutions": (size, (4, 4), (4, 4))}
            stored, seeded = make_spec(**fields | {"noise": "stored"}), make_spec(**fields)
            for one in (stored, seeded):
                fill(place, one, NUM_SAMPLES)
            uris = [store_uri(place, one) for one in (stored, seeded)]
            expected = shown_states(stored, 0, NUM_SAMPLES)
            for shard in range(3):
                shown = open_store(uris[0]).manifest.shard_range(shard)
                for uri in uris:
                    assert_states(open_store(uri).read_shard(shard), expected, shown)
                    assert_states(open_store(uri).read_shard(shard, [999]), expected, shown)
            samples = data.draw(st.lists(st.integers(0, NUM_SAMPLES - 1), max_size=6))
            for uri, timesteps in itertools.product(uris, (None, [999], [0, 999])):
                assert_states(open_store(uri).read_samples(samples, timesteps), expected, samples)
            loaders = [TrajectoryLoader(uri, batch_size=5, seed=1, window=2, rank=1, world_size=2) for uri in uris]
            assert_same_batches(loaders[1].epoch(0), list(loaders[0].epoch(0)))

        property_()

    @EVERYWHERE
    def test_seeded_noise_has_no_object(self, root: str, spec: TrajectorySpec) -> None:
        fields: dict[str, Any] = {"layout": spec.layout} | SEEDED
        manifests: list[Manifest] = []
        for one in (make_spec(**fields | {"noise": "stored"}), make_spec(**fields)):
            manifests.append(fill(root, one, NUM_SAMPLES))
            uri = store_uri(root, one)
            names = [key for key in list_prefix(uri) if "t0999" in key]
            names += [
                key for key in list_prefix(uri) if key.endswith(".tar") and b"t0999" in read_bytes(join(uri, key))
            ]
            assert bool(names) == (one.noise == "stored")
        stored, seeded = manifests
        assert seeded.spec.trajectory_bytes == stored.spec.trajectory_bytes * 2 // 3
        assert seeded.total_bytes < stored.total_bytes
        assert seeded.statistics == stored.statistics

    def test_another_generator_is_refused_with_a_remedy(
        self, root: str, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a release of numpy may bring one. What does not need the noise is still read."""
        one = make_spec(layout=spec.layout, **SEEDED)
        fill(root, one, NUM_SAMPLES)
        uri, expected = store_uri(root, one), shown_states(one, 0, NUM_SAMPLES)

        def other(*arguments: Any) -> npt.NDArray[np.float32]:
            noise = initial_noise(*arguments)
            noise[..., 0, 0] = np.nextafter(noise[..., 0, 0], np.float32(9), dtype=np.float16)
            return noise

        monkeypatch.setattr(seeded_noise_module, "initial_noise", other)
        message = r"shard {} .*noise drawn from the seed.*expected sha256.*found sha256.*use the release of numpy"
        for shard in range(3):
            with pytest.raises(ShardCorruptError, match=message.format(shard)):
                open_store(uri).read_shard(shard)
            with pytest.raises(ShardCorruptError, match=message.format(shard)):
                open_store(uri).read_samples([8 * shard], [999])
        with pytest.raises(ShardCorruptError, match=message.format("[0-2]")):
            next(iter(TrajectoryLoader(uri, batch_size=4, seed=0)))
        assert [problem.shard for problem in verify(uri)] == [0, 1, 2]
        assert_states(open_store(uri).read_samples([3, 9], [500, 0]), expected, [3, 9])
        for batch in TrajectoryLoader(uri, timesteps=[500, 0], batch_size=4, seed=0).epoch(0):
            assert_states(batch.states, expected, batch.indices)


def test_a_value_outside_of_its_range_is_refused_with_its_place(tmp_path: Path) -> None:
    spec = make_spec(uint8_ranges=(None, None, (-1.0, 1.0)))
    states = shard_states(spec, 2)
    states[0][5, 0, 1, 1] = 1.25
    message = r"shard 2 at timestep 0, samples 20 to 23: got values in .*1.25\] .*first in row 1; declare"
    with pytest.raises(ValueRangeError, match=message):
        open_writer(str(tmp_path), spec).write_shard(2, states)
    assert list_prefix(str(tmp_path)) == []


def test_plain_zarr_decodes_uint8_to_the_same_values(tmp_path: Path) -> None:
    """By `scale_factor` and `add_offset`, as xarray and others do it."""

    @examples("", local=20)
    @given(dtype=st.sampled_from(["float16", "float32"]), low=st.floats(-500, -1), high=st.floats(1, 500))
    def property_(dtype: str, low: float, high: float) -> None:
        spec = make_spec(dtype=dtype, uint8_ranges=(None, None, (low, high)), shard_samples=16)
        place = fresh(str(tmp_path))
        codes = np.arange(512, dtype=np.float64).reshape(16, 2, 4, 4) % 256
        states = shard_states(spec, 0) | {0: (low + codes * (high - low) / 255).clip(low, high)}
        open_writer(place, spec).write_shard(0, states)
        seal(place, spec, 16)
        uri = store_uri(place, spec)
        array = zarr.open_group(uri, mode="r")["t0000"]
        np.testing.assert_array_equal(array[:], codes)
        decoded = array[:] * array.attrs["scale_factor"] + array.attrs["add_offset"]
        np.testing.assert_array_equal(open_store(uri).read_shard(0)[0], decoded.astype(dtype))

    property_()


def _all(spec: TrajectorySpec, shards: list[dict[int, npt.NDArray[Any]]]) -> dict[int, npt.NDArray[Any]]:
    return {t: np.concatenate([states[t] for states in shards]) for t in spec.timesteps}


def test_other_noise_than_the_drawn_one_is_not_written(tmp_path: Path) -> None:
    spec = make_spec(noise="seeded")
    states = shard_states(spec, 0)
    states[999][5, 0, 0, 0] += 1.0
    with pytest.raises(ValueError, match=r"noise that is drawn from seed 7, got others in samples 4 to 7; "):
        open_writer(str(tmp_path), spec).write_shard(0, states)
    assert list_prefix(str(tmp_path)) == []
