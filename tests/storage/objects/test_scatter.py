"""Scatter reads: the same bytes as a whole read, wherever the parts lie, and no memory before the size is right."""

import itertools
import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from storage.errors import StoreNotFoundError
from storage.objects.access import join, read_into, write_bytes

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["path", "memory", pytest.param("s3", marks=pytest.mark.thorough)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty root on each kind of storage."""
    if request.param == "s3":
        return str(request.getfixturevalue("s3_root"))
    return {"path": str(tmp_path), "memory": f"memory://{tmp_path.name}"}[request.param]


@pytest.fixture(params=["preadv", "short reads", "no preadv"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system with preadv; one whose preadv gives 700 bytes at most, as it may; and one without."""
    original = os.preadv

    def short(descriptor: int, parts: Sequence[memoryview], offset: int) -> int:
        whole = next((n for n in range(len(parts)) if sum(map(len, parts[: n + 1])) > 700), len(parts))
        rest = 700 - sum(map(len, parts[:whole]))
        return original(descriptor, [*parts[:whole], *(part[:rest] for part in parts[whole : whole + 1])], offset)

    if request.param == "short reads":
        monkeypatch.setattr("storage.objects.scatter.os.preadv", short)
    if request.param == "no preadv":
        monkeypatch.delattr("storage.objects.scatter.os.preadv")
    return str(request.param)


def cut(buffer: bytearray, lengths: Sequence[int]) -> list[memoryview]:
    """Parts of a buffer, one after the other."""
    ends = np.cumsum([0, *lengths])
    return [memoryview(buffer)[start:end] for start, end in itertools.pairwise(ends)]


def never() -> list[memoryview]:
    """An allocation that must not happen."""
    raise AssertionError("nothing may be allocated before the size is known to be right")


class TestEveryKindOfStorage:
    """One contract for all of them."""

    def test_parts_in_order_hold_the_object(self, root: str) -> None:
        data, uri = random.Random(0).randbytes(100_000), join(root, "object")
        write_bytes(uri, data)
        for lengths in ([100_000], [0, 1, 0, 99_999, 0], [7] * 14_285 + [5]):
            buffer = bytearray(100_000)
            assert read_into(uri, 100_000, partial(cut, buffer, lengths)) == 100_000
            assert buffer == data

    def test_parts_may_be_arrays_of_any_type(self, root: str) -> None:
        states = np.random.default_rng(0).standard_normal((6, 3, 4, 4)).astype(np.float16)
        write_bytes(join(root, "object"), states.tobytes())
        parts = [np.empty((2, 3, 4, 4), np.float16) for _ in range(3)]
        assert read_into(join(root, "object"), states.nbytes, lambda: [part.data for part in parts]) == states.nbytes
        np.testing.assert_array_equal(np.concatenate(parts), states)

    @pytest.mark.parametrize("expected", [0, 9, 11, 10**15])
    def test_another_size_is_reported_and_nothing_allocated(self, root: str, expected: int) -> None:
        write_bytes(join(root, "object"), bytes(10))
        assert read_into(join(root, "object"), expected, never) == 10

    def test_an_empty_object(self, root: str) -> None:
        write_bytes(join(root, "object"), b"")
        assert read_into(join(root, "object"), 0, list) == 0

    def test_no_object(self, root: str) -> None:
        with pytest.raises(StoreNotFoundError, match="check the"):
            read_into(join(root, "object"), 10, never)

    @pytest.mark.parametrize(
        ("allocate", "message"),
        [
            (lambda: [memoryview(bytearray(9))], "add up to the object's 10 bytes, got 9"),
            (lambda: [memoryview(bytearray(5)), memoryview(bytearray(6))], "got 11 in 2 parts"),
            (lambda: [], "got 0"),
            (lambda: [memoryview(bytes(10))], "writable"),
            (lambda: [memoryview(bytearray(20))[::2]], "contiguous"),
        ],
    )
    def test_unfit_parts_are_refused(
        self, root: str, allocate: Callable[[], Sequence[memoryview]], message: str
    ) -> None:
        write_bytes(join(root, "object"), bytes(10))
        with pytest.raises(ValueError, match=message):
            read_into(join(root, "object"), 10, allocate)


class TestLocalFiles:
    """Straight from the page cache, whatever the system's call gives at once."""

    @pytest.mark.parametrize("lengths", [[50_000], [1] * 3000 + [47_000], [4096, 850, 0, 1, 30_000, 15_053]])
    def test_parts_hold_the_file(self, tmp_path: Path, system: str, lengths: list[int]) -> None:
        data, buffer = random.Random(0).randbytes(50_000), bytearray(50_000)
        (tmp_path / "object").write_bytes(data)
        assert read_into(str(tmp_path / "object"), 50_000, lambda: cut(buffer, lengths)) == 50_000
        assert buffer == data

    @pytest.mark.parametrize("left", [0, 1, 999, 5000, 49_999])
    def test_a_file_that_shrinks_meanwhile_is_reported(self, tmp_path: Path, system: str, left: int) -> None:
        path = tmp_path / "object"
        path.write_bytes(bytes(50_000))

        def allocate() -> list[memoryview]:
            os.truncate(path, left)
            return cut(bytearray(50_000), [4096] * 12 + [848])

        assert read_into(str(path), 50_000, allocate) == left

    def test_a_file_that_is_replaced_meanwhile_is_read_whole(self, tmp_path: Path, system: str) -> None:
        path, buffer = tmp_path / "object", bytearray(10)
        write_bytes(str(path), b"0123456789")

        def allocate() -> list[memoryview]:
            write_bytes(str(path), b"ABCDE")
            return [memoryview(buffer)]

        assert read_into(str(path), 10, allocate) == 10
        assert buffer == b"0123456789"
