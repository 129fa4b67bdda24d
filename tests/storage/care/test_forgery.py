"""Shards that somebody with the right to write has forged, so that every hash agrees: `verify` names them.

Readers take checked bytes from where the spec says that states lie, and nothing that an object says of itself: no code
is run, no name is followed, no memory is taken on its word. What is forged here is the form. Other values in the right
form are a store like any other: only computing them again tells.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    ShardCorruptError,
    TrajectoryLoader,
    TrajectorySpec,
    join,
    open_store,
    read_bytes,
    store_uri,
    verify,
    write_bytes,
)
from storage.records.commits import read_commit, write_commit
from storage.testing.damage import assert_explained, examples, forge, peak_memory, refusals
from storage.testing.trajectories import fill, make_spec, states_of
from tests.storage.care.tar_forgery import FORGED_SAMPLE, FORGED_TARS, extended, with_checksums

LAYOUTS = ("zarr", "webdataset")
NUM_SAMPLES = 24
MEMORY = 4 * 2**20
"""What reading a forged store in every way may take at once; reading the good ones of these tests takes less."""
TAR, INDEX = "shards/shard-000001.tar", "shards/shard-000001.idx.json"
OBJECT = "t0500/c/1/0/0/0"
CHUNK = 4 * 2 * 4 * 4 * 2 + 4
"""Bytes of one of the two chunks of a shard, with its crc32c."""


StoreOf = Callable[[str], tuple[str, TrajectorySpec]]


@pytest.fixture(scope="module")
def good_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good store in each layout."""
    root = tmp_path_factory.mktemp("good")
    for layout in LAYOUTS:
        fill(str(root / layout), make_spec(layout=layout), NUM_SAMPLES)
    return root


@pytest.fixture
def store_of(good_root: Path, tmp_path: Path) -> StoreOf:
    """Gives a copy of the good store in a layout, which a test may forge."""

    def copied(layout: str) -> tuple[str, TrajectorySpec]:
        shutil.copytree(good_root / layout, tmp_path / layout)
        spec = make_spec(layout=layout)
        return store_uri(str(tmp_path / layout), spec), spec

    return copied


def assert_refused(uri: str, spec: TrajectorySpec, sample: int = FORGED_SAMPLE) -> None:
    """Shard 1 is refused however it is read, all else is right, and `verify` names it."""
    with pytest.raises(ShardCorruptError, match=r"in shard 1 .*advkd cache repair"):
        open_store(uri).read_shard(1)
    assert_right_or_refused(uri, spec, [sample])
    seen: list[int] = []
    epoch = TrajectoryLoader(uri, batch_size=4, seed=2, window=1).epoch(0)
    with pytest.raises(ShardCorruptError, match="in shard 1 "):
        seen.extend(index for batch in epoch for index in batch.indices.tolist())
    assert not set(seen) & set(range(8, 16))
    assert_right_or_refused(uri, spec, [0, 23])
    assert {problem.shard for problem in verify(uri)} == {1}
    assert peak_memory(lambda: refusals(uri), MEMORY) < MEMORY


def assert_named(uri: str, spec: TrajectorySpec, key: str) -> None:
    """`verify` names the object; reading gives states of the spec's form for shard 1, and all others are right."""
    assert {(problem.shard, problem.key) for problem in verify(uri)} == {(1, key)}
    states = open_store(uri).read_shard(1)
    assert {t: (values.dtype.name, values.shape) for t, values in states.items()} == dict.fromkeys(
        spec.timesteps, (spec.dtype, (spec.shard_samples, *spec.sample_shape))
    )
    assert not assert_right_or_refused(uri, spec, [0, 7, 16, 23])
    counts: list[int] = []
    assert peak_memory(lambda: counts.append(refusals(uri)), MEMORY) < MEMORY
    assert set(counts) == {0}


def assert_right_or_refused(uri: str, spec: TrajectorySpec, samples: list[int]) -> bool:
    """Whether a ranged read was refused; what it gives otherwise is right to the bit."""
    try:
        states = open_store(uri).read_samples(samples)
    except ShardCorruptError as error:
        assert_explained(error)
        return True
    for t, values in states.items():
        np.testing.assert_array_equal(values, states_of(spec, 0, NUM_SAMPLES)[t][samples].astype(spec.dtype))
    return False


@pytest.mark.thorough
@pytest.mark.parametrize("what", FORGED_TARS)
def test_a_forged_tar_is_named(store_of: StoreOf, what: str) -> None:
    uri, spec = store_of("webdataset")
    good, index = read_bytes(join(uri, TAR)), read_bytes(join(uri, INDEX))
    tar = FORGED_TARS[what](good)
    assert len(tar) == len(good)
    assert tar != good
    forge(uri, spec, NUM_SAMPLES, 1, {TAR: tar, INDEX: with_checksums(index, tar)})
    assert_named(uri, spec, TAR)


def test_a_tar_with_one_member_more_is_named(store_of: StoreOf) -> None:
    uri, spec = store_of("webdataset")
    forge(uri, spec, NUM_SAMPLES, 1, {TAR: extended(read_bytes(join(uri, TAR)))})
    assert_named(uri, spec, TAR)


@pytest.mark.parametrize(
    "change", [lambda tar: tar[:-512], lambda tar: tar + bytes(512), lambda tar: b"", lambda tar: 2 * tar]
)
def test_a_tar_of_another_size_is_refused(store_of: StoreOf, change: Callable[[bytes], bytes]) -> None:
    uri, spec = store_of("webdataset")
    forge(uri, spec, NUM_SAMPLES, 1, {TAR: change(read_bytes(join(uri, TAR)))})
    assert_refused(uri, spec)


FORGED_INDEXES: dict[str, Callable[[bytes], bytes]] = {
    "a list": lambda good: b"[" + b",".join([b"0"] * 8) + b"]",
    "a number": lambda good: b"12",
    "nothing": lambda good: b"",
    "no JSON": lambda good: b"\xff\xfe" * (len(good) // 2),
    "deep JSON": lambda good: b"[" * len(good),
    "entries without a checksum": lambda good: good.replace(b"[0, ", b'{"a": ').replace(b"]", b"}"),
    "texts for numbers": lambda good: good.replace(b", 4096, ", b', "40", '),
    "checksums that are not whole": lambda good: good[:-8] + b"1e9" + good[-5:],
    "samples of another shard": lambda good: good.replace(b'"0000000000', b'"0000000001'),
    "the same sample twice": lambda good: good.replace(b'"000000000009"', b'"000000000008"'),
    "other places": lambda good: good.replace(b": [0, ", b": [5, "),
    "places beyond the tar": lambda good: good.replace(b": [4096, ", b": [9999, "),
    "spaces elsewhere": lambda good: good.replace(b": [", b" :[", 1),
}


@pytest.mark.thorough
@pytest.mark.parametrize("same_size", [True, False])
@pytest.mark.parametrize("what", FORGED_INDEXES)
def test_a_forged_index_of_a_tar_is_named(store_of: StoreOf, what: str, same_size: bool) -> None:
    """Our readers do not need it."""
    uri, spec = store_of("webdataset")
    good = read_bytes(join(uri, INDEX))
    forged = FORGED_INDEXES[what](good)
    assert forged != good
    if same_size:
        forged = forged.ljust(len(good), b" ")
    forge(uri, spec, NUM_SAMPLES, 1, {INDEX: forged})
    assert not assert_right_or_refused(uri, spec, [FORGED_SAMPLE])
    assert not assert_right_or_refused(uri, spec, list(range(NUM_SAMPLES)))
    assert_named(uri, spec, INDEX)


def test_any_forged_index_of_a_tar_is_named(store_of: StoreOf) -> None:
    uri, spec = store_of("webdataset")
    good = read_bytes(join(uri, INDEX))

    @examples(uri, local=30)
    @given(place=st.integers(0, len(good) - 1), data=st.binary(min_size=1, max_size=12))
    def property_(place: int, data: bytes) -> None:
        forged = (good[:place] + data + good[place + len(data) :])[: len(good)]
        forge(uri, spec, NUM_SAMPLES, 1, {INDEX: forged})
        assert not assert_right_or_refused(uri, spec, [FORGED_SAMPLE])
        assert bool(verify(uri)) == (forged != good)

    property_()


def chunk_index(*places: tuple[int, int]) -> bytes:
    """Offset and size of each chunk, and the crc32c over them: the end of a Zarr shard."""
    entries = np.array(places, dtype="<u8").tobytes()
    return entries + crc32c(entries).to_bytes(4, "little")


FORGED_ENDS = {
    "chunks the other way round": chunk_index((CHUNK, CHUNK), (0, CHUNK)),
    "one chunk twice": chunk_index((0, CHUNK), (0, CHUNK)),
    "a chunk beyond the object": chunk_index((0, CHUNK), (2**40, CHUNK)),
    "a chunk far larger than the object": chunk_index((0, CHUNK), (CHUNK, 2**40)),
    "chunks that overlap": chunk_index((0, CHUNK), (CHUNK - 8, CHUNK + 8)),
    "an empty chunk": chunk_index((0, CHUNK), (2**64 - 1, 2**64 - 1)),
    "a wrong checksum": chunk_index((0, CHUNK), (CHUNK, CHUNK))[:-4] + bytes(4),
}
"""An empty chunk is what Zarr reads as its fill value."""


@pytest.mark.parametrize("what", FORGED_ENDS)
def test_a_zarr_shard_with_another_index_is_named(store_of: StoreOf, what: str) -> None:
    uri, spec = store_of("zarr")
    good, end = read_bytes(join(uri, OBJECT)), FORGED_ENDS[what]
    assert good[-len(end) :] == chunk_index((0, CHUNK), (CHUNK, CHUNK)) != end
    forge(uri, spec, NUM_SAMPLES, 1, {OBJECT: good[: -len(end)] + end})
    assert_named(uri, spec, OBJECT)
    assert not assert_right_or_refused(uri, spec, list(range(NUM_SAMPLES)))


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"", lambda data: 3 * data]
)
def test_a_zarr_shard_of_another_size_is_refused(store_of: StoreOf, change: Callable[[bytes], bytes]) -> None:
    uri, spec = store_of("zarr")
    forge(uri, spec, NUM_SAMPLES, 1, {OBJECT: change(read_bytes(join(uri, OBJECT)))})
    assert_refused(uri, spec)


def test_a_chunk_without_its_own_checksum_is_named(store_of: StoreOf) -> None:
    """Plain Zarr refuses it, so we say that it is damaged."""
    uri, spec = store_of("zarr")
    good = read_bytes(join(uri, OBJECT))
    forge(uri, spec, NUM_SAMPLES, 1, {OBJECT: good[: CHUNK - 4] + bytes(4) + good[CHUNK:]})
    assert_named(uri, spec, OBJECT)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_exchanged_objects_of_two_shards_are_never_taken_for_each_other(store_of: StoreOf, layout: str) -> None:
    """Every object is whole and carries checksums of its own: only the record knows whose it is."""
    uri, spec = store_of(layout)
    entries = [open_store(uri).manifest.shards.entries(shard) for shard in (0, 1)]
    for ours, theirs in zip(*entries, strict=True):
        one, other = read_bytes(join(uri, ours.key)), read_bytes(join(uri, theirs.key))
        write_bytes(join(uri, ours.key), other)
        write_bytes(join(uri, theirs.key), one)
    reader = open_store(uri)
    for sample in range(16):
        assert assert_right_or_refused(uri, spec, [sample])
        with pytest.raises(ShardCorruptError, match=f"shard {sample // 8} "):
            reader.read_samples([sample])
    assert not assert_right_or_refused(uri, spec, [16, 23])
    assert {problem.shard for problem in verify(uri)} == {0, 1}


def test_exchanged_chunks_with_their_checksums_are_never_taken_for_each_other(store_of: StoreOf) -> None:
    uri, spec = store_of("zarr")
    data = read_bytes(join(uri, OBJECT))
    write_bytes(join(uri, OBJECT), data[CHUNK : 2 * CHUNK] + data[:CHUNK] + data[2 * CHUNK :])
    for sample in range(8, 16):
        assert assert_right_or_refused(uri, spec, [sample])
    assert_refused(uri, spec)


def test_exchanged_samples_of_a_tar_are_never_taken_for_each_other(store_of: StoreOf) -> None:
    uri, spec = store_of("webdataset")
    good, index = read_bytes(join(uri, TAR)), read_bytes(join(uri, INDEX))
    tar = FORGED_TARS["two samples the other way round"](good)
    for forged in (index, with_checksums(index, tar)):
        write_bytes(join(uri, TAR), tar)
        write_bytes(join(uri, INDEX), forged)
        for sample in (11, 12):
            assert assert_right_or_refused(uri, spec, [sample])
        assert_refused(uri, spec)


def test_a_record_without_checksums_gives_no_ranged_read(store_of: StoreOf) -> None:
    """Somebody forged the record alone, whose checksums are in no manifest."""
    uri, spec = store_of("zarr")
    record = read_commit(uri, 1)
    for chunks in ((), (1,), (1, 2), tuple(range(9))):
        write_commit(uri, replace(record, objects=tuple(replace(one, crc32=chunks) for one in record.objects)))
        assert assert_right_or_refused(uri, spec, [FORGED_SAMPLE])
        assert not assert_right_or_refused(uri, spec, list(range(NUM_SAMPLES)))
        assert {problem.shard for problem in verify(uri)} == {1}
