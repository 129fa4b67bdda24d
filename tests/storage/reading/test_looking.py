"""Reading single samples as somebody does who looks around: growing stores, few requests, bounded memory.

In both layouts.
"""

import pickle

import pytest

import storage.reading.ranged
from storage import (
    ByteCache,
    ManifestError,
    ShardCorruptError,
    StoreIncompleteError,
    StoreNotFoundError,
    TrajectorySpec,
    join,
    open_growing,
    open_store,
    open_writer,
    read_bytes,
    store_uri,
    write_bytes,
)
from storage.records import PIECE_BYTES
from storage.testing.damage import change_record
from storage.testing.oracles import KINDS, assert_states, shown_states, spec_of_kind
from storage.testing.trajectories import fill, make_spec, shard_states
from tests.storage.conftest import EVERYWHERE

pytestmark = pytest.mark.timeout(300)
WIDE = {"shard_samples": 32, "block_samples": 4}


@pytest.fixture
def ranges_asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Every ranged read that reaches a store from now on."""
    asked: list[tuple[str, int, int]] = []
    original = storage.reading.ranged.read_range

    def counted(uri: str, start: int, stop: int) -> bytes:
        asked.append((uri, start, stop))
        return original(uri, start, stop)

    monkeypatch.setattr(storage.reading.ranged, "read_range", counted)
    return asked


class TestGrowing:
    """`open_growing`."""

    @EVERYWHERE
    def test_it_shows_what_is_committed_and_says_what_is_not(self, root: str, spec: TrajectorySpec) -> None:
        writer, uri = open_writer(root, spec), store_uri(root, spec)
        for shard in (0, 2):
            writer.write_shard(shard, shard_states(spec, shard))
        reader = open_growing(uri)
        assert (reader.manifest.num_samples, reader.manifest.num_shards) == (24, 3)
        expected, samples = shown_states(spec, 0, 24), [23, 0, 17, 5]
        assert_states(reader.read_samples(samples), expected, samples)
        assert_states(reader.read_shard(2), expected, range(16, 24))
        with pytest.raises(StoreIncompleteError, match=r"committed, but shard 1 .* is not yet; wait for precompute"):
            reader.read_samples([9])
        copy = pickle.loads(pickle.dumps(reader))
        assert_states(copy.read_samples([0]), expected, [0])
        writer.write_shard(1, shard_states(spec, 1))
        assert_states(open_growing(uri).read_samples([9]), expected, [9])

    def test_nothing_there_damaged_or_foreign_is_refused(self, root: str, spec: TrajectorySpec) -> None:
        uri = store_uri(root, spec)
        with pytest.raises(StoreNotFoundError, match=r"a store is a folder with a spec\.json"):
            open_growing(uri)
        writer = open_writer(root, spec)
        writer.write_shard(0, shard_states(spec, 0))
        address = join(uri, "commits/000000.json")
        good = read_bytes(address)
        for changes in ({"digest": "c" * 64}, {"objects": []}, {"shard": 1}):
            write_bytes(address, good)
            change_record(address, changes)
            with pytest.raises(ManifestError, match=r"record (of shard )?0"):
                open_growing(uri).read_samples([0])
        write_bytes(address, good)
        data_key = open_growing(uri).manifest.shards.keys(0)[0]
        data = read_bytes(join(uri, data_key))
        write_bytes(join(uri, data_key), bytes(len(data)))
        with pytest.raises(ShardCorruptError, match="shard 0"):
            open_growing(uri).read_samples([0])


@pytest.mark.parametrize("kind", KINDS)
def test_growing_stores_of_every_kind(tmp_path, kind: str) -> None:
    spec = spec_of_kind(kind)
    open_writer(str(tmp_path), spec).write_shard(0, shard_states(spec, 0))
    reader = open_growing(store_uri(str(tmp_path), spec))
    assert_states(reader.read_samples([3, 1]), shown_states(spec, 0, 8), [3, 1])


class TestFewRequests:
    """Ranged reads: how many, of what, and what is kept of them."""

    def test_neighbours_are_one_request_for_each_object(
        self, root: str, spec: TrajectorySpec, ranges_asked: list[tuple[str, int, int]]
    ) -> None:
        spec = make_spec(layout=spec.layout, **WIDE)
        fill(root, spec, 64)
        reader = open_store(store_uri(root, spec))
        samples = [6, 4, 5, 7, 4]
        assert_states(reader.read_samples(samples, [500]), shown_states(spec, 0, 64), samples)
        assert len(ranges_asked) == 1
        ranges_asked.clear()
        samples = [1, 3, 2, 30]
        assert_states(reader.read_samples(samples), shown_states(spec, 0, 64), samples)
        assert len(ranges_asked) == {"zarr": len(spec.timesteps), "webdataset": 1}[spec.layout]

    def test_a_block_that_is_held_is_not_asked_for_again(
        self, root: str, spec: TrajectorySpec, ranges_asked: list[tuple[str, int, int]]
    ) -> None:
        spec = make_spec(layout=spec.layout, **WIDE)
        fill(root, spec, 32)
        kept = ByteCache(2**20)
        for _ in range(2):
            reader = open_store(store_uri(root, spec), kept=kept)
            assert_states(reader.read_samples([4, 5], [500]), shown_states(spec, 0, 32), [4, 5])
        assert len(ranges_asked) == 1
        held = kept.held_bytes
        # Samples that were read already are neither asked for nor kept again, whatever is asked for with them.
        # A sample of the tar is a quarter of a piece; the whole object of a Zarr timestep is less than one.
        assert_states(reader.read_samples([4, 5, 7, 8], [500]), shown_states(spec, 0, 32), [4, 5, 7, 8])
        asked = [(start, stop) for _, start, stop in ranges_asked]
        if spec.layout == "webdataset":
            assert asked[1][0] == asked[0][1]
            assert asked[1][1] - asked[1][0] == PIECE_BYTES
            assert held < kept.held_bytes < held + PIECE_BYTES + 2 * 1024
        else:
            assert (len(asked), kept.held_bytes) == (1, held)

    def test_a_damaged_range_is_not_held(self, root: str, spec: TrajectorySpec) -> None:
        spec = make_spec(layout=spec.layout, **WIDE)
        fill(root, spec, 32)
        uri, kept = store_uri(root, spec), ByteCache(2**20)
        address = join(uri, open_store(uri).manifest.shards.keys(0)[0])
        good = read_bytes(address)
        bad = bytearray(good)
        bad[: len(bad) // 2] = bytes(len(bad) // 2)
        write_bytes(address, bytes(bad))
        reader = open_store(uri, kept=kept)
        with pytest.raises(ShardCorruptError):
            reader.read_samples([1], [999])
        # What remains is the page of the index.
        assert kept.held_bytes < 2048
        write_bytes(address, good)
        assert_states(reader.read_samples([1], [999]), shown_states(spec, 0, 32), [1])
