"""The laws of the store, each against both layouts, on a local path and on a real S3 server.

Laws are numbered as in the design: 1 sample i is sample i, 2 whole shards, 3 data first, 4 sealed is manifest, 5
nothing on trust, 6 the grid is data, 7 exact resume, 8 byte-identical, 9 no pickle and no listing.
"""

import gc
import io
import multiprocessing
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr

from storage import (
    GridMismatchError,
    ManifestError,
    NonFiniteError,
    ShardCorruptError,
    SpecMismatchError,
    StoreIncompleteError,
    StoreNotFoundError,
    TrajectoryLoader,
    TrajectorySpec,
    delete,
    exists,
    is_sealed,
    join,
    list_prefix,
    list_stores,
    missing_shards,
    objects,
    open_store,
    open_writer,
    read_bytes,
    seal,
    store_uri,
    verify,
    write_bytes,
)
from storage.checked_json import load_checked
from tests.storage.damage import change_record
from tests.storage.trajectories import fill, make_spec, shard_states, states_of

pytestmark = pytest.mark.timeout(60)


def snapshot(uri: str, prefix: str = "shards/") -> dict[str, bytes]:
    """Every data object of a store."""
    keys = [key for key in list_prefix(uri) if key.startswith(prefix) and not key.endswith("zarr.json")]
    return {key: read_bytes(join(uri, key)) for key in keys}


def assert_holds(uri: str, spec: TrajectorySpec, num_samples: int) -> None:
    """Every sample is what the teacher gives for it, to the bit, however it is read."""
    expected = states_of(spec, 0, num_samples)
    reader = open_store(uri)
    samples = np.random.default_rng(0).permutation(num_samples)
    for t, values in reader.read_samples(samples.tolist()).items():
        assert values.dtype == np.dtype(spec.dtype)
        np.testing.assert_array_equal(values, expected[t][samples].astype(spec.dtype))
    for shard in range(reader.manifest.num_shards):
        shown = reader.manifest.shard_range(shard)
        for t, values in reader.read_shard(shard).items():
            np.testing.assert_array_equal(values, expected[t][shown.start : shown.stop].astype(spec.dtype))


def first_data_key(uri: str, shard: int) -> str:
    """Some object that a reader of the shard must fetch."""
    return open_store(uri).manifest.shards.entries(shard)[0].key


class TestEveryStore:
    """The contract."""

    @pytest.mark.parametrize("dtype", ["float16", "float32"])
    def test_law_1_sample_i_is_sample_i(self, root: str, spec: TrajectorySpec, dtype: str) -> None:
        wide = make_spec(layout=spec.layout, dtype=dtype)
        narrow = make_spec(layout=spec.layout, dtype=dtype, shard_samples=4, block_samples=2)
        for one in (wide, narrow):
            fill(root, one, 21)
            assert_holds(store_uri(root, one), one, 21)

    def test_law_2_only_whole_shards_of_the_spec_are_written(self, root: str, spec: TrajectorySpec) -> None:
        writer, good = open_writer(root, spec), shard_states(spec, 0)
        without_clean = {t: good[t] for t in (999, 500)}
        short = {t: values[:5] for t, values in good.items()}
        integers = {t: values.astype(np.int32) for t, values in good.items()}
        for bad in (without_clean, good | {250: good[0]}, short, integers, {t: v[:, :1] for t, v in good.items()}):
            with pytest.raises(ValueError, match=r"exactly the timesteps|written whole"):
                writer.write_shard(0, bad)
        with pytest.raises(ValueError, match="0 or more"):
            writer.write_shard(-1, good)
        assert list_prefix(root) == []

    def test_law_2_a_shard_touches_no_object_of_another(self, root: str, spec: TrajectorySpec) -> None:
        writer = open_writer(root, spec)
        keys = [{entry.key for entry in writer.write_shard(i, shard_states(spec, i)).objects} for i in range(3)]
        assert not keys[0] & keys[1]
        assert not keys[1] & keys[2]

    def test_law_3_data_first_commit_last(
        self, root: str, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[str] = []
        original = objects.write_bytes

        def recording(uri: str, data: bytes) -> None:
            original(uri, data)
            written.append(uri)

        for module in ("writing", "commits", "identity", "store", "shard_index", "manifest"):
            monkeypatch.setattr(f"storage.{module}.write_bytes", recording)
        fill(root, spec, 9)
        uri = store_uri(root, spec)
        keys = [key.removeprefix(uri + "/") for key in written if not key.endswith("zarr.json")]
        kinds = [key.split("/")[0] for key in keys]
        one_shard = ["shards"] * len(open_store(uri).manifest.shards.templates) + ["commits"]
        assert kinds == ["spec.json", *one_shard, *one_shard, "index", "seals", "manifest.json"]

    def test_law_3_a_kill_between_data_and_commit_leaves_a_resumable_store(
        self, root: str, spec: TrajectorySpec
    ) -> None:
        open_writer(root, spec).write_shard(0, shard_states(spec, 0))
        process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(root, spec, 1))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert any("1" in key for key in snapshot(store_uri(root, spec)))
        assert missing_shards(root, spec, 16) == [1]
        with pytest.raises(StoreIncompleteError, match="1 of 2 are missing"):
            seal(root, spec, 16)
        fill(root, spec, 16)
        assert_holds(store_uri(root, spec), spec, 16)
        assert verify(store_uri(root, spec)) == []

    def test_law_4_a_store_is_sealed_when_its_manifest_is_written(self, root: str, spec: TrajectorySpec) -> None:
        uri = store_uri(root, spec)
        with pytest.raises(StoreNotFoundError, match="check the URI"):
            open_store(uri)
        assert missing_shards(root, spec, 17) == [0, 1, 2]
        writer = open_writer(root, spec)
        writer.write_shard(1, shard_states(spec, 1))
        assert missing_shards(root, spec, 17) == [0, 2]
        with pytest.raises(StoreIncompleteError, match="precompute"):
            open_store(uri)
        with pytest.raises(StoreIncompleteError, match="0, 2"):
            seal(root, spec, 17)
        assert [(one.state, one.num_shards) for one in list_stores(root)] == [("growing", 1)]
        assert not is_sealed(root, spec, 17)
        manifest = fill(root, spec, 17)
        assert is_sealed(root, spec, 17)
        assert is_sealed(root, spec, 3)
        assert not is_sealed(root, spec, 18)
        assert [(one.state, one.num_samples) for one in list_stores(root)] == [("sealed", 17)]
        assert seal(root, spec, 17).sealed == manifest.sealed

    def test_law_4_extension_touches_no_old_object_and_open_readers_keep_working(
        self, root: str, spec: TrajectorySpec
    ) -> None:
        uri = store_uri(root, spec)
        fill(root, spec, 11)
        before, old_reader = snapshot(uri), open_store(uri)
        assert missing_shards(root, spec, 16) == []
        assert missing_shards(root, spec, 30) == [2, 3]
        fill(root, spec, 30)
        after = snapshot(uri)
        assert {key: after[key] for key in before} == before
        assert_holds(uri, spec, 30)
        assert verify(uri) == []
        assert len(old_reader.read_shard(1)[0]) == 3
        assert seal(root, spec, 11).num_samples == 30

    def test_law_4_two_writers_at_once_are_harmless(self, root: str, spec: TrajectorySpec, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        writers = [context.Process(target=fill, args=(root, spec, 24)) for _ in range(2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0, 0]
        alone = str(tmp_path / "alone")
        fill(alone, spec, 24)
        assert snapshot(store_uri(root, spec)) == snapshot(store_uri(alone, spec))
        assert verify(store_uri(root, spec)) == []

    @pytest.mark.parametrize("damage", ["flip", "cut", "grow", "delete", "swap"])
    def test_law_5_a_changed_object_is_refused_and_named(self, root: str, spec: TrajectorySpec, damage: str) -> None:
        uri = store_uri(root, spec)
        fill(root, spec, 24)
        key = first_data_key(uri, 1)
        data = read_bytes(join(uri, key))
        if damage == "delete":
            delete(join(uri, key))
        else:
            middle = len(data) // 2
            changed = {
                "flip": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
                "cut": data[:-1],
                "grow": data + b"\0",
                "swap": read_bytes(join(uri, first_data_key(uri, 2))),
            }[damage]
            write_bytes(join(uri, key), changed)
        with pytest.raises(ShardCorruptError) as caught:
            open_store(uri).read_shard(1)
        for part in ("shard 1", key, "expected", "found", f"advkd cache repair {uri}"):
            assert part in str(caught.value)
        assert [(problem.shard, problem.key) for problem in verify(uri)] == [(1, key)]
        assert len(open_store(uri).read_shard(0)[0]) == 8
        seen: list[int] = []
        epoch = TrajectoryLoader(uri, batch_size=4, seed=1, window=1).epoch(0)
        with pytest.raises(ShardCorruptError):
            seen.extend(index for batch in epoch for index in batch.indices.tolist())
        assert not set(seen) & set(range(8, 16))

    def test_law_5_verify_sees_metadata_and_commits(self, root: str, spec: TrajectorySpec) -> None:
        uri = store_uri(root, spec)
        fill(root, spec, 24)
        calls: list[tuple[int, int]] = []
        assert verify(uri, progress=lambda done, total: calls.append((done, total))) == []
        assert calls == [(1, 3), (2, 3), (3, 3)]
        delete(join(uri, "commits/000000.json"))
        write_bytes(join(uri, "commits/000001.json"), b"{")
        change_record(join(uri, "commits/000002.json"), {"objects": []})
        found = [(problem.shard, problem.found) for problem in verify(uri)]
        assert found == [(0, "nothing"), (1, "a damaged record"), (2, "another record")]

    def test_law_5_nan_infinity_and_overflow_are_refused(self, root: str, spec: TrajectorySpec) -> None:
        writer = open_writer(root, spec)
        for value, what in ((np.nan, "NaN"), (np.inf, "NaN"), (70000.0, "overflow of float16")):
            states = shard_states(spec, 2)
            states[500][3, 0, 1, 1] = value
            with pytest.raises(NonFiniteError, match=rf"shard 2 at timestep 500, samples 16 to 19: got {what}.*row 3"):
                writer.write_shard(2, states)
        assert list_prefix(root) == []

    def test_law_6_a_grid_that_was_not_captured_is_refused(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 16)
        uri = store_uri(root, spec)
        for refused in ((999, 250, 0), ()):
            with pytest.raises(GridMismatchError, match=r"subset.*\(999, 500, 0\)"):
                TrajectoryLoader(uri, timesteps=refused, batch_size=4, seed=0)
        batch = next(iter(TrajectoryLoader(uri, timesteps=(999, 0), batch_size=4, seed=0)))
        assert set(batch.states) == {999, 0}

    def test_law_7_a_resumed_loader_gives_the_same_bits(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 61)
        settings: dict[str, Any] = {"batch_size": 5, "seed": 3, "rank": 1, "world_size": 2, "window": 2}
        uri = store_uri(root, spec)
        undisturbed = TrajectoryLoader(uri, **settings)
        stream, states, batches = iter(undisturbed), [undisturbed.state_dict()], []
        for _ in range(15):
            batches.append(next(stream))
            states.append(undisturbed.state_dict())
        for done in (0, 1, 5, 6, 7, 13):
            resumed = TrajectoryLoader(uri, **settings)
            resumed.load_state_dict(states[done])
            for expected, found in zip(batches[done:], iter(resumed), strict=False):
                np.testing.assert_array_equal(found.indices, expected.indices)
                for t, values in expected.states.items():
                    np.testing.assert_array_equal(found.states[t], values)

    def test_law_8_the_same_spec_writes_the_same_bytes(self, root: str, spec: TrajectorySpec) -> None:
        for name in ("one", "other"):
            fill(join(root, name), spec, 16)
        one, other = (snapshot(store_uri(join(root, name), spec)) for name in ("one", "other"))
        assert one == other
        assert one

    def test_law_9_reading_needs_no_listing_and_no_pickle(
        self, root: str, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(root, spec, 12)

        def forbidden(*_: object, **__: object) -> None:
            raise AssertionError("not needed to read")

        for name in ("storage.integrity.list_prefix", "storage.commits.list_objects", "storage.listing.list_folders"):
            monkeypatch.setattr(name, forbidden)
        monkeypatch.setattr(pickle, "loads", forbidden)
        monkeypatch.setattr(pickle, "load", forbidden)
        assert_holds(store_uri(root, spec), spec, 12)
        assert len(list(TrajectoryLoader(store_uri(root, spec), batch_size=4, seed=0).epoch(0))) == 3

    def test_a_reader_survives_spawn_and_trusts_nothing_there(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 16)
        uri = store_uri(root, spec)
        reader = open_store(uri)
        reader.read_shard(0)
        copy = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(copy.read_shard(0)[0], reader.read_shard(0)[0])

    def test_a_store_of_another_spec_is_refused(self, root: str, spec: TrajectorySpec) -> None:
        other = make_spec(layout=spec.layout, base_seed=8)
        fill(root, other, 8)
        uri, theirs = store_uri(root, spec), store_uri(root, other)
        write_bytes(join(uri, "spec.json"), read_bytes(join(theirs, "spec.json")))
        with pytest.raises(SpecMismatchError, match="base_seed"):
            missing_shards(root, spec, 8)
        write_bytes(join(uri, "manifest.json"), read_bytes(join(theirs, "manifest.json")))
        for refused in (missing_shards, is_sealed, seal):
            with pytest.raises(SpecMismatchError, match="base_seed"):
                refused(root, spec, 8)
        with pytest.raises(SpecMismatchError):
            open_writer(root, spec)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kind": "other"}, "foreign"),
            ({"layout_version": 2}, "newer"),
            ({"surprise": 1}, "unknown.*surprise"),
            ({"digest": "b" * 64}, "digest"),
            ({"num_samples": 99}, "lists 2"),
            ({"num_samples": "many"}, "cannot be used"),
            ({"shards": {}}, "shard index"),
            ({"statistics": {}}, "statistics"),
        ],
    )
    def test_a_manifest_that_cannot_be_trusted_is_refused(
        self, root: str, spec: TrajectorySpec, change: dict[str, Any], message: str
    ) -> None:
        fill(root, spec, 16)
        uri = store_uri(root, spec)
        address = join(uri, "manifest.json")
        change_record(address, change)
        with pytest.raises(ManifestError, match=message):
            open_store(uri)
        assert [one.state for one in list_stores(root)] == ["unreadable"]

    def test_a_truncated_manifest_and_a_foreign_shard_table_are_refused(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 16)
        uri = store_uri(root, spec)
        address = join(uri, "manifest.json")
        data = read_bytes(address)
        shards = load_checked(data)["shards"]
        change_record(address, {"shards": shards | {"objects": ["../elsewhere/{shard}", *shards["objects"][1:]]}})
        with pytest.raises(ManifestError, match="elsewhere"):
            open_store(uri)
        write_bytes(address, data[:100])
        with pytest.raises(ManifestError, match=r"must end with the sha256.*advkd cache repair"):
            open_store(uri)

    def test_a_damaged_or_foreign_commit_is_not_sealed(self, root: str, spec: TrajectorySpec) -> None:
        uri = store_uri(root, spec)
        writer = open_writer(root, spec)
        for shard in range(2):
            writer.write_shard(shard, shard_states(spec, shard))
        address = join(uri, "commits/000001.json")
        good = read_bytes(address)
        for bad in ({"shard": 0}, {"digest": "c" * 64}, {"extra": 1}, {"layout_version": 9}):
            write_bytes(address, good)
            change_record(address, bad)
            with pytest.raises(ManifestError, match="commit"):
                seal(root, spec, 16)
            assert not exists(join(uri, "manifest.json"))

    def test_statistics_are_those_of_all_stored_values(self, root: str, spec: TrajectorySpec) -> None:
        manifest = fill(root, spec, 24)
        for t, values in states_of(spec, 0, 24).items():
            stored = values.astype(np.float16).astype(np.float64)
            found = manifest.statistics[t]
            expected = (stored.mean(), stored.std(), stored.min(), stored.max())
            np.testing.assert_allclose((found.mean, found.std, found.min, found.max), expected, rtol=1e-12)

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_other_peoples_tools_read_it(
        self, root: str, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(root, spec, 12)
        uri, expected = store_uri(root, spec), states_of(spec, 0, 16)
        # What plain s3fs needs to be told about a server other than AWS.
        config = {
            f"{name}": "when_required" for name in ("request_checksum_calculation", "response_checksum_validation")
        }
        options = {"config_kwargs": config} if uri.startswith("s3://") else {}
        if spec.layout == "zarr":
            group = zarr.open_group(uri, mode="r", storage_options=options or None)
            for t in spec.timesteps:
                np.testing.assert_array_equal(group[f"shards/t{t:04d}"][:], expected[t][:12].astype(np.float16))
            return
        import webdataset

        def opener(url: str, mode: str, bufsize: int) -> io.BytesIO:
            with fsspec.open(url, mode, **options) as file:
                return io.BytesIO(file.read())

        # webdataset has no opener of its own for s3://.
        monkeypatch.setitem(sys.modules["webdataset.gopen"].gopen_schemes, "s3", opener)
        urls = [join(uri, f"shards/shard-{shard:06d}.tar") for shard in range(2)]
        samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
        gc.collect()  # webdataset leaves files unclosed
        assert [sample["json"] for sample in samples] == [{"index": index} for index in range(16)]
        for t in spec.timesteps:
            stored = np.stack([sample[f"t{t:04d}.npy"] for sample in samples])
            np.testing.assert_array_equal(stored, expected[t].astype(np.float16))


def _write_and_die(root: str, spec: TrajectorySpec, shard: int) -> None:
    import storage.writing

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    storage.writing.write_commit = die
    open_writer(root, spec).write_shard(shard, shard_states(spec, shard))
