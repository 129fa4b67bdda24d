"""Checks that objects are a shard of their spec, which the hashes in a forged record do not prove.

A shard is a function of its states: encoding the states in the objects with the layout must give the same objects.
This module does no input or output.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from storage.layouts import Layout, States, layout_of
from storage.records import ObjectEntry, TrajectorySpec, piece_checksums


@dataclass(frozen=True)
class ContentFault:
    """The fault of a shard whose objects have the right hashes."""

    position: int
    """Position of the object in the record."""
    reason: str


def content_fault(
    spec: TrajectorySpec, shard: int, entries: Sequence[ObjectEntry], read: Callable[[int], bytearray | None]
) -> ContentFault | None:
    """Returns why a shard is not one of its spec, None if it is.

    Args:
        spec: spec of the store.
        shard: number of the shard.
        entries: the shard's objects, with the crc32 of their pieces, from its commit record.
        read: returns the bytes of the object at a position, None if they are not those of the record; called once for
            each object.
    """
    layout, stored, whole = layout_of(spec), States(), True
    for position, (entry, size) in enumerate(zip(entries, layout.object_bytes(spec), strict=True)):
        data = read(position)
        if data is None:
            whole = False
        elif len(data) != size:
            return ContentFault(position, f"the manifest lists {len(data)} bytes, the spec demands {size}")
        elif piece_checksums(data) != entry.crc32:
            return ContentFault(position, "the crc32 of its pieces, in the commit record, are not those of the object")
        else:
            _take(layout, spec, position, data, stored)
    # Encoding needs all states; missing objects are reported elsewhere.
    made = layout.encode(spec, shard, stored) if whole else iter(())
    for position, (again, entry) in enumerate(zip(made, entries, strict=whole)):
        if hashlib.sha256(again).hexdigest() != entry.sha256:
            return ContentFault(position, "its layout makes another object of the states that lie in it")
    return None


def _take(layout: Layout, spec: TrajectorySpec, position: int, data: bytearray, stored: States) -> None:
    """Copies the states that lie in an object."""
    timesteps = [
        extent.timestep
        for extent in layout.extents(spec, spec.stored_timesteps, range(1))
        if extent.position == position
    ]
    for t in timesteps:
        encoding = spec.encoding(t)
        stored[t] = np.empty((spec.shard_samples, *encoding.shape), dtype=encoding.stored_dtype)
        for extent in layout.extents(spec, [t], range(spec.shard_samples)):
            stored[t][extent.rows.start : extent.rows.stop] = extent.view(data, encoding)
