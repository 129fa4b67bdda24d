"""Memory for the bytes of one object that is read whole, so that its states come to their places with few copies."""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from storage.layouts import Extent
from storage.records import TrajectorySpec

_by_start = attrgetter("start")


class Landing:
    """Takes the bytes of an object; once they have been checked, `settle` leaves its states in their places.

    Where states lie back to back (Zarr), the object is read straight into their places, and what lies between them
    beside. Where they are strewn (a tar), it is read as one piece of memory, out of which they are copied.

    Args:
        size: Bytes of the object, which is known to be of that size.
        spec: Of the store.
        extents: Where the states lie in it.
        places: Timestep -> stored array of a whole shard, `[S, C, H_k, W_k]`, C-contiguous.
    """

    def __init__(
        self, size: int, spec: TrajectorySpec, extents: Iterable[Extent], places: Mapping[int, npt.NDArray[Any]]
    ) -> None:
        self._spec, self._places = spec, places
        self._strewn, self._states, self._between = list[Extent](), list[memoryview](), memoryview(b"")
        self.parts = list[memoryview]()
        """The memory, from the object's first byte to its last."""
        ordered = sorted(extents, key=_by_start)
        if any(extent.stride != spec.encoding(extent.timestep).state_bytes for extent in ordered):
            self._strewn = ordered
            self.parts.append(np.empty(size, dtype=np.uint8).data)
        else:
            self._part(size, ordered)

    def checksum(self) -> int:
        """Tells these bytes from others: the crc32c of the states, and the crc32c of what lies between them.

        Of both together it would be the same for all: what lies between are crc32c of the states (Zarr).
        """
        if self._strewn:
            return crc32c(self.parts[0])
        states = 0
        for part in self._states:
            states = crc32c(part, states)
        return states << 32 | crc32c(self._between)

    def settle(self) -> None:
        """Copy the states that are not in their places yet."""
        for extent in self._strewn:
            states = extent.view(self.parts[0], self._spec.encoding(extent.timestep))
            self._places[extent.timestep][extent.rows.start : extent.rows.stop] = states

    def _part(self, size: int, extents: Iterable[Extent]) -> None:
        states = {t: place.reshape(-1).view(np.uint8).data for t, place in self._places.items()}
        self._between = between = memoryview(bytearray(size - sum(map(len, states.values()))))
        at = used = 0
        for extent in extents:
            gap = extent.start - at
            self.parts.append(between[used : used + gap])
            first, stop = extent.rows.start * extent.stride, extent.rows.stop * extent.stride
            self._states.append(states[extent.timestep][first:stop])
            self.parts.append(self._states[-1])
            at, used = extent.start + stop - first, used + gap
        self.parts.append(between[used:])
