"""Ranged reads of objects that are cut into pieces of one size: each piece is asked for once, neighbours together.

The crc32 of every piece of an object is in its shard's commit record, so that a piece is checked without the rest. Not
crc32c, although it is three times as fast: Zarr writes the crc32c of a chunk behind it, and the crc32c of both together
is the same for every chunk there is.

What is kept is what the store gave, checked or not: whoever finds a piece to be wrong forgets all of its object, and
the next reading asks the store again.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

from storage.records.byte_cache import ByteCache

PIECE_BYTES = 2**14
"""Of the pieces that have a crc32 in the records; the last one of an object may be shorter."""
GAP_BYTES = 2**17
"""Pieces between two that are wanted are read along up to here: another request costs more."""


@dataclass(frozen=True)
class ObjectPart:
    """Something that is kept of an object as it was when it had this hash."""

    address: str
    sha256: str


@dataclass(frozen=True)
class Piece(ObjectPart):
    """Its bytes from `number * size` on."""

    size: int
    number: int


def piece_checksums(data: bytes | bytearray) -> tuple[int, ...]:
    """The crc32 of each piece of an object."""
    view = memoryview(data)
    return tuple(crc32(view[start : start + PIECE_BYTES]) for start in range(0, len(view), PIECE_BYTES))


def read_pieces(
    whole: ObjectPart,
    size: int,
    numbers: Collection[int],
    fetch: Callable[[int, int], bytes],
    kept: ByteCache | None,
) -> dict[int, bytes | memoryview]:
    """Pieces of an object by number.

    Args:
        whole: the object.
        size: bytes of a piece.
        numbers: the pieces that are wanted.
        fetch: gives the bytes start..stop-1 of the object, all that it has of them.
        kept: where pieces are looked up and kept, None: nowhere.
    """
    pieces: dict[int, bytes | memoryview] = {}
    if kept is not None:
        for number in set(numbers):
            held = kept.get(Piece(whole.address, whole.sha256, size, number))
            if held is not None:
                pieces[number] = held
    for start, stop in _requests(sorted(set(numbers) - pieces.keys()), GAP_BYTES // size):
        data = memoryview(fetch(start * size, stop * size))
        for number in range(start, stop):
            pieces[number] = piece = data[(number - start) * size : (number - start + 1) * size]
            if kept is not None:
                # A copy of its own: a part of the answer would keep all of it in memory.
                kept.put(Piece(whole.address, whole.sha256, size, number), bytes(piece), size)
    return pieces


def forget_objects(kept: ByteCache, addresses: Collection[str]) -> None:
    """Drops all that is kept of some objects."""
    kept.forget(lambda key: isinstance(key, ObjectPart) and key.address in addresses)


def _requests(numbers: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    """Ascending numbers as ranges `start..stop-1`, over gaps of up to so many others."""
    start = 0
    for position in range(1, len(numbers) + 1):
        if position == len(numbers) or numbers[position] - numbers[position - 1] - 1 > gap:
            yield numbers[start], numbers[position - 1] + 1
            start = position
