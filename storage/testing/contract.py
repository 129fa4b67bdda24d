"""Tests of every store besides the laws, for any layout and place."""

import pickle
from typing import Any

import numpy as np
import pytest

from storage import (
    LAYOUT_VERSION,
    ManifestError,
    NonFiniteError,
    ShardCorruptError,
    SpecMismatchError,
    TrajectorySpec,
    delete,
    exists,
    is_sealed,
    join,
    list_prefix,
    list_stores,
    missing_shards,
    open_store,
    open_writer,
    read_bytes,
    seal,
    store_uri,
    verify,
    write_bytes,
)
from storage.records import load_checked
from storage.testing.damage import change_record
from storage.testing.oracles import assert_states
from storage.testing.trajectories import fill, make_spec, shard_states, states_of


class StoreContract:
    """Tests of every store. Needs the fixtures `root` and `spec`, see `storage.testing`."""

    def test_verify_sees_metadata_and_commits(self, root: str, spec: TrajectorySpec) -> None:
        uri = store_uri(root, spec)
        fill(root, spec, 24)
        calls: list[tuple[int, int]] = []
        assert verify(uri, progress=lambda done, total: calls.append((done, total))) == []
        assert calls == [(1, 3), (2, 3), (3, 3)]
        delete(join(uri, "commits/000000.json"))
        write_bytes(join(uri, "commits/000001.json"), b"{")
        change_record(join(uri, "commits/000002.json"), {"objects": []})
        problems = [(problem.shard, problem.found) for problem in verify(uri)]
        assert problems == [(0, "nothing"), (1, "a damaged record"), (2, "another record")]

    def test_nan_infinity_and_overflow_are_refused(self, root: str, spec: TrajectorySpec) -> None:
        writer = open_writer(root, spec)
        for value, what in ((np.nan, "NaN"), (np.inf, "NaN"), (70000.0, "overflow of float16")):
            states = shard_states(spec, 2)
            states[500][3, 0, 1, 1] = value
            with pytest.raises(NonFiniteError, match=rf"shard 2 at timestep 500, samples 16 to 19: got {what}.*row 3"):
                writer.write_shard(2, states)
        assert list_prefix(root) == []

    def test_a_reader_survives_pickling_and_trusts_nothing_there(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 16)
        uri = store_uri(root, spec)
        reader = open_store(uri)
        expected = reader.read_shard(0)
        copy = pickle.loads(pickle.dumps(reader))
        assert_states(copy.read_shard(0), expected, range(8))
        address = join(uri, reader.manifest.shards.entries(0)[0].key)
        data = read_bytes(address)
        write_bytes(address, data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(ShardCorruptError, match="shard 0 "):
            pickle.loads(pickle.dumps(reader)).read_shard(0)

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

    def test_a_manifest_that_cannot_be_trusted_is_refused(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 16)
        uri = store_uri(root, spec)
        address = join(uri, "manifest.json")
        good = read_bytes(address)
        changes: list[tuple[dict[str, Any], str]] = [
            ({"kind": "other"}, "foreign"),
            ({"layout_version": LAYOUT_VERSION + 1}, "newer"),
            ({"surprise": 1}, "unknown.*surprise"),
            ({"digest": "b" * 64}, "digest"),
            ({"num_samples": 99}, "lists 2"),
            ({"num_samples": "many"}, "cannot be used"),
            ({"shards": {}}, "shard index"),
            ({"statistics": {}}, "statistics"),
        ]
        for change, message in changes:
            write_bytes(address, good)
            change_record(address, change)
            with pytest.raises(ManifestError, match=message):
                open_store(uri)
            assert [store.state for store in list_stores(root)] == ["unreadable"]

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
            statistics = manifest.statistics[t]
            expected = (stored.mean(), stored.std(), stored.min(), stored.max())
            np.testing.assert_allclose(
                (statistics.mean, statistics.std, statistics.min, statistics.max), expected, rtol=1e-12
            )
