"""Whether objects that have the hashes of their record are a shard of their spec: what a forged record cannot make so.

Every way of reading is tried, whole objects and ranges. Does no input or output itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.layouts import layout_of
from storage.records import ObjectEntry
from storage.scatter import byte_parts, fill
from storage.spec import TrajectorySpec


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
        last, data = position, read(position)
        if len(data) != size:
            raise ValueError(f"the manifest lists {len(data)} bytes, the spec demands {size}")
        fill(byte_parts(parts(), size), bytes(data))

    def fetch_range(position: int, start: int, stop: int) -> bytes:
        nonlocal last
        last = position
        return bytes(memoryview(read(position))[start:stop])

    def place(timestep: int) -> npt.NDArray[Any]:
        encoding = spec.encoding(timestep)
        return np.empty((spec.shard_samples, *encoding.shape), dtype=encoding.stored_dtype)

    for t in spec.stored_timesteps:
        # One at a time: a shard as large as memory allows must be verified too.
        try:
            layout.read(spec, shard, [t], fetch, place)
            rows = range(spec.shard_samples)
            layout.read_rows(spec, shard, rows, [t], fetch, fetch_range, lambda position: entries[position].crc32c)
        except UnreadableObjectError:
            continue
        except ValueError as error:
            return ContentFault(last, str(error))
    return None
