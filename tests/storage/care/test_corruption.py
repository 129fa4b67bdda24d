"""Any single damage to any object of a store is named by `verify`, and no reader ever gives a wrong sample.

Objects that a reader does not need (indexes and metadata for other tools, commit records, `spec.json`) may be damaged
while everything read is still right; `verify` names them all the same.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    ManifestError,
    ShardCorruptError,
    StoreError,
    StoreIncompleteError,
    TrajectoryLoader,
    TrajectorySpec,
    join,
    open_store,
    store_uri,
    verify,
    write_bytes,
)
from storage.layouts.protocols import States
from storage.testing.damage import Damage, contents, damages, examples, inflicted
from storage.testing.oracles import shown_states, spec_of_kind
from storage.testing.trajectories import fill, make_spec
from tests.storage.conftest import EVERYWHERE

pytestmark = pytest.mark.timeout(300)
NUM_SAMPLES = 21
SHARDS = 3


class Sealed:
    """A good store of 21 samples in 3 shards, and what it holds."""

    def __init__(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, NUM_SAMPLES)
        self.uri, self.spec = store_uri(root, spec), spec
        self.good = contents(self.uri)
        table = open_store(self.uri).manifest.shards
        self.data_keys = {entry.key: shard for shard in range(SHARDS) for entry in table.entries(shard)}
        self.commit_keys = {f"commits/{shard:06d}.json": shard for shard in range(SHARDS)}
        self.read_keys = {key: shard for key, shard in self.data_keys.items() if not key.endswith(".idx.json")}
        self.states: States = shown_states(spec, 0, NUM_SAMPLES)

    @property
    def shard_keys(self) -> dict[str, int]:
        """Every object that belongs to one shard, and that shard."""
        return self.data_keys | self.commit_keys

    @property
    def other_keys(self) -> tuple[str, ...]:
        """Metadata for people's own tools, and `spec.json`."""
        return tuple(key for key in self.good if key not in self.shard_keys and not _sealing(key))


@pytest.fixture
def store(root: str, spec: TrajectorySpec) -> Sealed:
    """A store that every example damages and mends."""
    return Sealed(root, spec)


@pytest.mark.thorough
@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_any_damage_to_a_store_with_every_encoding_is_named_and_never_read(tmp_path: Path, layout: str) -> None:
    """Noise that is drawn again, states as uint8 and at smaller resolutions."""
    store = Sealed(str(tmp_path), spec_of_kind("all", layout=layout))

    @examples(store.uri, local=25)
    @given(damage=damages(store.good, tuple(key for key in store.good if not _sealing(key))))
    def property_(damage: Damage) -> None:
        shard = store.shard_keys.get(damage.key)
        with inflicted(store.uri, damage, store.good):
            assert [(problem.shard, problem.key) for problem in verify(store.uri)] == [(shard, damage.key)]
            refused = {store.read_keys[damage.key]} if damage.key in store.read_keys else set()
            assert _refused_shards(store) == refused
            _assert_loader_is_right(store, refused)

    property_()


@pytest.mark.thorough
def test_a_damaged_data_object_is_named_and_never_read(store: Sealed) -> None:
    @examples(store.uri, local=35)
    @given(damage=damages(store.good, tuple(store.data_keys)))
    def property_(damage: Damage) -> None:
        shard = store.data_keys[damage.key]
        with inflicted(store.uri, damage, store.good):
            assert [(problem.shard, problem.key) for problem in verify(store.uri)] == [(shard, damage.key)]
            refused = _refused_shards(store)
            assert refused == ({shard} if damage.key in store.read_keys else set())
            _assert_loader_is_right(store, refused)

    property_()


@pytest.mark.thorough
def test_a_damaged_commit_or_metadata_object_is_named_and_reading_goes_on(store: Sealed) -> None:
    @examples(store.uri, local=35)
    @given(damage=damages(store.good, (*store.commit_keys, *store.other_keys)))
    def property_(damage: Damage) -> None:
        with inflicted(store.uri, damage, store.good):
            shard = store.commit_keys.get(damage.key)
            assert [(problem.shard, problem.key) for problem in verify(store.uri)] == [(shard, damage.key)]
            assert _refused_shards(store) == set()
            _assert_loader_is_right(store, set())

    property_()


@pytest.mark.thorough
def test_a_damaged_manifest_is_refused(store: Sealed) -> None:
    keys = tuple(key for key in store.good if _sealing(key))

    @examples(store.uri, local=50)
    @given(damage=damages(store.good, keys))
    def property_(damage: Damage) -> None:
        with inflicted(store.uri, damage, store.good):
            try:
                problems = verify(store.uri)
            except StoreIncompleteError:
                assert damage.kind == "delete"
                problems = []
            else:
                assert [(problem.shard, problem.key) for problem in problems] == [(None, damage.key)]
                assert "advkd cache repair" in problems[0].message
            for read in (_read_all, _load_all):
                with pytest.raises((ManifestError, StoreIncompleteError)) as caught:
                    read(store.uri)
                assert store.uri in str(caught.value)

    property_()


def test_damage_while_a_loader_runs_is_seen_when_the_shard_is_reached(tmp_path: Path) -> None:
    """What was opened before the damage trusts nothing that it has not read yet."""
    store = Sealed(str(tmp_path), make_spec())

    @examples(store.uri)
    @given(damage=damages(store.good, tuple(store.read_keys)), seed=st.integers(0, 5))
    def property_(damage: Damage, seed: int) -> None:
        reader = open_store(store.uri)
        loader = TrajectoryLoader(store.uri, batch_size=3, seed=seed, window=1)
        with inflicted(store.uri, damage, store.good):
            shard = store.read_keys[damage.key]
            with pytest.raises(ShardCorruptError, match=f"shard {shard} "):
                reader.read_shard(shard)
            with pytest.raises(ShardCorruptError):
                reader.read_samples(range(NUM_SAMPLES))
            seen: list[int] = []
            with pytest.raises(ShardCorruptError, match=f"shard {shard} "):
                seen.extend(index for batch in loader.epoch(0) for index in batch.indices.tolist())
            assert not set(seen) & set(reader.manifest.shard_range(shard))

    property_()


def test_a_shard_that_was_checked_is_checked_for_its_size_again(tmp_path: Path) -> None:
    store = Sealed(str(tmp_path), make_spec())
    reader = open_store(store.uri)
    reader.read_shard(1)
    key = next(key for key, shard in store.read_keys.items() if shard == 1)
    with (
        inflicted(store.uri, Damage(key, "cut", store.good[key][:-1]), store.good),
        pytest.raises(ShardCorruptError, match="shard 1"),
    ):
        reader.read_shard(1)


@pytest.mark.parametrize("kind", ["zarr", "webdataset"])
def test_objects_that_are_exchanged_after_they_were_checked_are_not_taken_for_each_other(
    tmp_path: Path, kind: str
) -> None:
    """Each is as good as it was: Zarr's carry their own checksums, so that one over both would be the same for all."""
    store = Sealed(str(tmp_path), spec_of_kind(kind))
    reader = open_store(store.uri)
    reader.read_shard(1)
    for ours, theirs in zip(*(reader.manifest.shards.entries(shard) for shard in (1, 2)), strict=True):
        write_bytes(join(store.uri, ours.key), store.good[theirs.key])
    with pytest.raises(ShardCorruptError, match="shard 1"):
        reader.read_shard(1)


@pytest.mark.parametrize("kind", ["zarr", "webdataset"])
def test_an_object_that_cannot_be_read_does_not_keep_others_from_being_looked_at(tmp_path: Path, kind: str) -> None:
    """As from a bad disk; here a folder has its name."""
    store = Sealed(str(tmp_path), spec_of_kind(kind))
    page = next(key for key in store.good if key.startswith("index/"))
    data = next(key for key, shard in store.read_keys.items() if shard == 1)
    for key in (data, page, "commits/000002.json", "seals/000000000021.json", "spec.json"):
        Path(store.uri, key).unlink()
        Path(store.uri, key).mkdir()
        shard = store.shard_keys.get(key)
        assert [(problem.shard, problem.key) for problem in verify(store.uri)] == [(shard, key)]
        if key in (data, page):
            with pytest.raises(StoreError, match="Is a directory"):
                _load_all(store.uri)
        Path(store.uri, key).rmdir()
        write_bytes(join(store.uri, key), store.good[key])


@EVERYWHERE
def test_two_damages_are_both_named(store: Sealed) -> None:
    first, second = (next(key for key, shard in store.data_keys.items() if shard == wanted) for wanted in (0, 2))
    one, other = Damage(first, "cut", store.good[first][:-1]), Damage(second, "delete", None)
    with inflicted(store.uri, one, store.good), inflicted(store.uri, other, store.good):
        assert [(problem.shard, problem.key) for problem in verify(store.uri)] == [(0, first), (2, second)]
        assert _refused_shards(store) == {0, 2}
        for problem in verify(store.uri):
            for part in (f"shard {problem.shard}", problem.key, "expected", "found", f"repair {store.uri}"):
                assert part in problem.message


def _sealing(key: str) -> bool:
    return key == "manifest.json" or key.startswith("index/")


def _refused_shards(store: Sealed) -> set[int]:
    """The shards that a new reader refuses; all others are right to the bit, whole and sample by sample."""
    reader, refused = open_store(store.uri), set()
    for shard in range(SHARDS):
        shown = reader.manifest.shard_range(shard)
        try:
            states = reader.read_shard(shard)
        except ShardCorruptError as error:
            refused.add(shard)
            message = str(error)
        else:
            message = ""
        if message:
            assert f"shard {shard} " in message
            assert f"advkd cache repair {store.uri}" in message
            _assert_sample_is_right_or_refused(store, shown.start)
            continue
        for t, values in states.items():
            np.testing.assert_array_equal(values, store.states[t][shown.start : shown.stop])
    return refused


def _assert_sample_is_right_or_refused(store: Sealed, sample: int) -> None:
    """A ranged read sees only its own range, and gives nothing but what was committed there."""
    try:
        states = open_store(store.uri).read_samples([sample])
    except ShardCorruptError:
        return
    for t, values in states.items():
        np.testing.assert_array_equal(values[0], store.states[t][sample])


def _assert_loader_is_right(store: Sealed, refused: set[int]) -> None:
    """All samples of an epoch if nothing is refused; else an error, and none of a refused shard before it."""
    seen: list[int] = []
    message = None
    try:
        for index in _checked_epoch(store):
            seen.append(index)
    except ShardCorruptError as error:
        message = str(error)
    if message is None:
        assert not refused
        assert sorted(seen) == list(range(NUM_SAMPLES))
    else:
        assert any(f"shard {shard} " in message for shard in refused)
    assert not {index // store.spec.shard_samples for index in seen} & refused


def _checked_epoch(store: Sealed) -> Iterator[int]:
    for batch in TrajectoryLoader(store.uri, batch_size=4, seed=1, window=1, drop_last=False).epoch(0):
        for t, values in batch.states.items():
            np.testing.assert_array_equal(values, store.states[t][batch.indices])
        yield from batch.indices.tolist()


def _read_all(uri: str) -> None:
    open_store(uri).read_shard(0)


def _load_all(uri: str) -> None:
    list(TrajectoryLoader(uri, batch_size=4, seed=1).epoch(0))
