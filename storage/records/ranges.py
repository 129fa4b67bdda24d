"""Reads ranges of objects in pieces of one size: each piece is requested once, neighbours in one request.

The crc32 of every piece of an object is in its shard's commit record, so a piece is checked without the rest. crc32c
would be three times as fast, but does not work: Zarr writes the crc32c of a chunk behind it, and the crc32c of both
together is the same for every chunk.

Pieces are cached before they are checked. A caller that finds a wrong piece must call `forget_objects`; the next read
then goes to the store again.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

from storage.records.byte_cache import ByteCache

PIECE_BYTES = 2**14
"""Bytes of the pieces that have a crc32 in the records; the last one of an object may be shorter."""
GAP_BYTES = 2**17
"""Bytes between two wanted pieces up to which both are read in one request: another request costs more."""


@dataclass(frozen=True)
class ObjectPart:
    """The key of a cached part of an object with this hash."""

    address: str
    sha256: str


@dataclass(frozen=True)
class Piece(ObjectPart):
    """The key of an object's `size` bytes from `number * size` on."""

    size: int
    number: int


def piece_checksums(data: bytes | bytearray) -> tuple[int, ...]:
    """Returns the crc32 of each piece of an object."""
    view = memoryview(data)
    return tuple(crc32(view[start : start + PIECE_BYTES]) for start in range(0, len(view), PIECE_BYTES))


def read_pieces(
    whole: ObjectPart,
    size: int,
    numbers: Collection[int],
    fetch: Callable[[int, int], bytes],
    kept: ByteCache | None,
) -> dict[int, bytes | memoryview]:
    """Returns pieces of an object by number.

    Args:
        whole: the object.
        size: bytes of a piece.
        numbers: numbers of the wanted pieces.
        fetch: `fetch(start, stop)` returns the bytes start..stop-1 of the object, fewer if it ends before.
        kept: cache of pieces, None: no cache.
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
                # A copy, because a view would keep the whole answer in memory.
                kept.put(Piece(whole.address, whole.sha256, size, number), bytes(piece), size)
    return pieces


def forget_objects(kept: ByteCache, addresses: Collection[str]) -> None:
    """Drops everything that is cached of some objects."""
    kept.forget(lambda key: isinstance(key, ObjectPart) and key.address in addresses)


def _requests(numbers: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    """Yields ascending numbers as ranges `start..stop-1`, joined over gaps of up to `gap` numbers."""
    start = 0
    for position in range(1, len(numbers) + 1):
        if position == len(numbers) or numbers[position] - numbers[position - 1] - 1 > gap:
            yield numbers[start], numbers[position - 1] + 1
            start = position
