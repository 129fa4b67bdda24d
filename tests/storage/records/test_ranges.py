"""Laws of what is kept: the bound, least used goes first, each piece is asked for once and never twice at a time."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import ByteCache
from storage.records.byte_cache import ENTRY_BYTES
from storage.records.ranges import GAP_BYTES, ObjectPart, forget_objects, read_pieces

WHOLE = ObjectPart("memory://object", "0" * 64)


@dataclass
class Requests:
    """An object, and what was asked of it."""

    data: bytes
    asked: list[tuple[int, int]]

    def __call__(self, start: int, stop: int) -> bytes:
        self.asked.append((start, stop))
        return self.data[start:stop]


def an_object(size: int) -> Requests:
    return Requests(np.random.default_rng(0).bytes(size), [])


class TestByteCache:
    """One bound, whatever is held."""

    @pytest.mark.parametrize("seed", range(3))
    def test_it_keeps_its_bound_and_what_was_used_last(self, seed: int) -> None:
        bound = 20 * ENTRY_BYTES
        cache, generator, last = ByteCache(bound), np.random.default_rng(seed), -1
        for key, size in zip(generator.integers(0, 40, 2000), generator.integers(0, 5000, 2000), strict=True):
            if last >= 0:
                assert cache.get(last) is not None
            cache.put(int(key), "value", int(size))
            last = int(key)
            assert cache.held_bytes <= bound
        cache.put("large", "value", bound)
        assert cache.get("large") is None

    def test_the_least_used_goes_first(self) -> None:
        cache = ByteCache(2 * ENTRY_BYTES)
        for name in "ab":
            cache.put(name, name.upper(), 0)
        assert cache.get("a") == "A"
        cache.put("c", "C", 0)
        assert [cache.get(name) for name in "abc"] == ["A", None, "C"]

    def test_values_without_bytes_have_a_price(self) -> None:
        cache = ByteCache(10 * ENTRY_BYTES)
        for key in range(1000):
            cache.put(key, None, 0)
        assert cache.held_bytes == 10 * ENTRY_BYTES

    def test_a_value_in_place_of_another_is_counted_once(self) -> None:
        cache = ByteCache(10**6)
        for size in (10, 500, 20):
            cache.put("key", size, size)
            assert (cache.get("key"), cache.held_bytes) == (size, size + ENTRY_BYTES)
        cache.put("key", "too large", 10**6)
        assert (cache.get("key"), cache.held_bytes) == (None, 0)

    def test_a_bound_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match="must be positive, got 0"):
            ByteCache(0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sets(st.integers(0, 60), min_size=1), min_size=1, max_size=8), st.sampled_from([7, 5_000]))
def test_pieces_are_those_of_the_object_and_asked_for_once(walls: list[set[int]], size: int) -> None:
    fetch, kept = an_object(61 * size), ByteCache(2**26)
    for wall in walls:
        for cache in (kept, None):
            found = read_pieces(WHOLE, size, wall, fetch, cache)
            for number in wall:
                assert found[number] == fetch.data[number * size : (number + 1) * size]
    fetch.asked.clear()
    read_pieces(WHOLE, size, set().union(*walls), fetch, kept)
    assert fetch.asked == []


def test_overlapping_walls_read_no_piece_twice() -> None:
    size = 40_000
    fetch, kept = an_object(100 * size), ByteCache(2**26)
    for first in (0, 5, 3, 50, 20):
        read_pieces(WHOLE, size, range(first, first + 30), fetch, kept)
    pieces = [number for start, stop in fetch.asked for number in range(start // size, stop // size)]
    assert sorted(pieces) == list(range(80))


def test_a_small_gap_is_read_along_and_a_large_one_is_not() -> None:
    size = 1000
    near, far = GAP_BYTES // size, GAP_BYTES // size + 1
    fetch = an_object(400 * size)
    read_pieces(WHOLE, size, [0, near + 1], fetch, None)
    read_pieces(WHOLE, size, [0, far + 1], fetch, None)
    assert fetch.asked == [(0, (near + 2) * size), (0, size), ((far + 1) * size, (far + 2) * size)]


def test_what_is_forgotten_is_asked_for_again() -> None:
    fetch, kept = an_object(100), ByteCache(2**20)
    other = ObjectPart("memory://other", "1" * 64)
    for whole in (WHOLE, other):
        read_pieces(whole, 10, [1, 2], fetch, kept)
    forget_objects(kept, {WHOLE.address})
    for whole in (WHOLE, other):
        read_pieces(whole, 10, [2], fetch, kept)
    assert fetch.asked == [(10, 30), (10, 30), (20, 30)]


def test_an_object_of_another_hash_is_another_object() -> None:
    fetch, kept = an_object(100), ByteCache(2**20)
    for sha256 in ("0" * 64, "1" * 64):
        read_pieces(ObjectPart("memory://object", sha256), 10, [1], fetch, kept)
    assert len(fetch.asked) == 2
