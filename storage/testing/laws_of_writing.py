"""The laws of writing, for any layout and place of a store.

Laws are numbered as in the design: 1 sample i is sample i, 2 whole shards, 3 data first, 4 sealed is manifest, 5
nothing on trust, 6 the grid is data, 7 exact resume, 8 byte-identical, 9 no pickle and no listing. Where a law speaks
of "any", hypothesis draws it: any extension (law 4) in `test_extension.py`, the rest here. Those of reading are in
`test_laws.py`.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    StoreIncompleteError,
    StoreNotFoundError,
    TrajectorySpec,
    is_sealed,
    join,
    list_prefix,
    list_stores,
    missing_shards,
    open_store,
    open_writer,
    seal,
    store_uri,
    verify,
)
from storage.care import Role, StoreKeys
from storage.testing.damage import examples, fresh
from storage.testing.oracles import assert_holds, snapshot, watch_writes
from storage.testing.processes import run_in_processes
from storage.testing.trajectories import fill, shard_states
from storage.testing.turns import Turns


class WritingLaws:
    """Tests of every store. Needs the fixtures `root` and `spec`, see `storage.testing`."""

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
        half = writer.begin(0)
        half.put(4, {t: values[4:] for t, values in good.items()})
        with pytest.raises(ValueError, match="written whole, got 4 of 8"):
            half.commit()
        for row in (3, 4, 7, -1):
            with pytest.raises(ValueError, match="must be put once"):
                half.put(row, {t: values[:2] for t, values in good.items()})
        assert list_prefix(root) == []

    def test_law_2_a_shard_touches_no_object_of_another(self, root: str, spec: TrajectorySpec) -> None:
        writer = open_writer(root, spec)
        keys = [{entry.key for entry in writer.write_shard(i, shard_states(spec, i)).objects} for i in range(3)]
        assert len(set.union(*keys)) == sum(map(len, keys))

    def test_law_3_data_first_commit_last(
        self, root: str, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[str] = []

        def note(address: str, write: Callable[[], None]) -> None:
            write()
            written.append(address)

        watch_writes(monkeypatch, note)
        fill(root, spec, 9)
        uri = store_uri(root, spec)
        roles = [StoreKeys(spec).role(key.removeprefix(uri.removeprefix("s3://") + "/")) for key in written]
        one_shard = [Role.DATA] * len(open_store(uri).manifest.shards.templates) + [Role.COMMIT]
        metadata = [Role.METADATA] * len(open_store(uri).manifest.metadata)
        last = [*metadata, Role.PAGE, Role.COPY, Role.MANIFEST]
        assert roles == [Role.IDENTITY, *one_shard, *one_shard, *last]

    def test_law_3_and_4_what_is_missing_is_exactly_what_has_no_commit(
        self, root: str, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two writers in any order and interleaving, stopped after any object: nothing is lost, wrong or different."""
        turns, num_samples = Turns(), 13
        watch_writes(monkeypatch, turns.write)
        fill(join(root, "undisturbed"), spec, num_samples)
        undisturbed = snapshot(store_uri(join(root, "undisturbed"), spec))

        @examples(root, local=25, s3=3)
        @given(data=st.data())
        def property_(data: st.DataObject) -> None:
            place = fresh(root)
            orders = [data.draw(st.permutations(range(2))) for _ in range(2)]
            programs = [lambda order=order: _write_and_seal(place, spec, num_samples, order) for order in orders]
            schedule = st.integers(0, 40).flatmap(lambda n: st.lists(st.integers(0, 1), min_size=n, max_size=n))
            keys = turns.run(programs, data.draw(schedule))
            uri = store_uri(place, spec)
            committed = [shard for shard in range(2) if f"commits/{shard:06d}.json" in _below(uri, keys)]
            assert missing_shards(place, spec, num_samples) == [s for s in range(2) if s not in committed]
            if "manifest.json" in _below(uri, keys):
                assert committed == [0, 1]
                assert_holds(uri, spec, num_samples)
            else:
                with pytest.raises(StoreIncompleteError if keys else StoreNotFoundError):
                    open_store(uri)
            assert is_sealed(place, spec, num_samples) == ("manifest.json" in _below(uri, keys))
            fill(place, spec, num_samples)
            assert_holds(uri, spec, num_samples)
            assert snapshot(uri) == undisturbed
            assert verify(uri) == []

        property_()

    def test_law_3_a_kill_between_data_and_commit_leaves_a_resumable_store(
        self, root: str, spec: TrajectorySpec
    ) -> None:
        open_writer(root, spec).write_shard(0, shard_states(spec, 0))
        assert run_in_processes([(_write_and_die, (root, spec, 1))]) == [-signal.SIGKILL]
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
        assert [(store.state, store.num_shards) for store in list_stores(root)] == [("growing", 1)]
        assert not is_sealed(root, spec, 17)
        manifest = fill(root, spec, 17)
        assert is_sealed(root, spec, 17)
        assert is_sealed(root, spec, 3)
        assert not is_sealed(root, spec, 18)
        assert [(store.state, store.num_samples) for store in list_stores(root)] == [("sealed", 17)]
        assert seal(root, spec, 17).sealed == manifest.sealed

    def test_law_4_two_writing_processes_are_harmless(self, root: str, spec: TrajectorySpec, tmp_path: Path) -> None:
        assert run_in_processes([(fill, (root, spec, 24))] * 2) == [0, 0]
        fill(str(tmp_path / "alone"), spec, 24)
        assert snapshot(store_uri(root, spec)) == snapshot(store_uri(str(tmp_path / "alone"), spec))
        assert verify(store_uri(root, spec)) == []

    def test_law_8_the_same_spec_writes_the_same_bytes(self, root: str, spec: TrajectorySpec) -> None:
        written = []
        for shards in ([0, 1, 2], [2, 0, 1]):
            place = fresh(root)
            for shard in shards:
                open_writer(place, spec).write_shard(shard, shard_states(spec, shard))
            seal(place, spec, 20)
            written.append(snapshot(store_uri(place, spec)))
        assert written[0] == written[1]
        assert len(written[0]) == 3 * len(open_store(store_uri(place, spec)).manifest.shards.templates)


def _write_and_seal(root: str, spec: TrajectorySpec, num_samples: int, order: list[int]) -> None:
    writer = open_writer(root, spec)
    for shard in order:
        writer.write_shard(shard, shard_states(spec, shard))
    seal(root, spec, num_samples)


def _write_and_die(root: str, spec: TrajectorySpec, shard: int) -> None:
    import storage.writing.writer

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    vars(storage.writing.writer)["write_commit"] = die
    open_writer(root, spec).write_shard(shard, shard_states(spec, shard))


def _below(uri: str, addresses: list[str]) -> set[str]:
    return {address.removeprefix(uri.removeprefix("s3://") + "/") for address in addresses}
