"""Whether objects that have the hashes of their record are a shard of their spec: what a forged record cannot make so.

Every way of reading is tried, whole objects and ranges. Does no input or output itself.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.layouts import layout_of
from storage.objects import byte_parts
from storage.records import ObjectEntry, TrajectorySpec

HELD_OBJECTS = 2
"""Objects of a shard that are wanted again and again: a tar and its index."""

_ROWS_AT_ONCE = 64


class UnreadableObjectError(ValueError):
    """An object could not be had, and whoever was asked for it has said why."""


@dataclass(frozen=True)
class ContentFault:
    """What is wrong with a shard whose objects have the right hashes."""

    position: int
    """Of the object that was looked at last."""
    reason: str


def content_fault(
    spec: TrajectorySpec, shard: int, entries: Sequence[ObjectEntry], read: Callable[[int], bytearray]
) -> ContentFault | None:
    """What keeps a shard from being read, None if nothing does.

    Args:
        spec: Of the store.
        shard: Number of the shard.
        entries: Its objects, with the crc32c of their chunks, as its commit record has them.
        read: Gives the bytes of an object; `UnreadableObjectError` where they are not those of its record.
    """
    layout, last = layout_of(spec), 0

    def fetch(position: int, size: int, parts: Callable[[], Sequence[memoryview]]) -> None:
        nonlocal last
        last, data, offset = position, memoryview(read(position)), 0
        if len(data) != size:
            raise ValueError(f"the manifest lists {len(data)} bytes, the spec demands {size}")
        for part in byte_parts(parts(), size):
            part[:] = data[offset : offset + len(part)]
            offset += len(part)

    def fetch_pieces(position: int, size: int, numbers: Collection[int]) -> dict[int, bytes]:
        nonlocal last
        last = position
        data = memoryview(read(position))
        return {number: bytes(data[number * size : (number + 1) * size]) for number in numbers}

    def place(timestep: int) -> npt.NDArray[Any]:
        encoding = spec.encoding(timestep)
        return np.empty((spec.shard_samples, *encoding.shape), dtype=encoding.stored_dtype)

    for timesteps in _together(spec, len(entries)):
        try:
            layout.read(spec, shard, timesteps, fetch, place)
            checksums = layout.checksums(spec, shard, fetch, lambda: [entry.crc32c for entry in entries])
            for rows in _blocks(spec):
                layout.read_rows(spec, shard, rows, timesteps, fetch_pieces, checksums)
        except UnreadableObjectError:
            continue
        except ValueError as error:
            return ContentFault(last, str(error))
    return None


def _together(spec: TrajectorySpec, objects: int) -> Sequence[Sequence[int]]:
    """Timesteps that are read at once, so that every object is asked for while it is held, and no more memory taken."""
    return [spec.stored_timesteps] if objects <= HELD_OBJECTS else [[t] for t in spec.stored_timesteps]


def _blocks(spec: TrajectorySpec) -> Iterator[range]:
    """The rows of a shard, some whole chunks at a time."""
    step = spec.block_samples * -(-_ROWS_AT_ONCE // spec.block_samples)
    for start in range(0, spec.shard_samples, step):
        yield range(start, min(start + step, spec.shard_samples))
