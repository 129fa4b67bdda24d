"""Memory into which one whole object is read, so that its states reach their arrays with few copies."""

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
    """Takes the bytes of an object; `settle` puts its states into their arrays after the bytes have been checked.

    If states are contiguous (Zarr), they are read straight into their arrays, and the bytes between them into separate
    memory. If they are scattered (a tar), the object is read into one buffer, and the states are copied from it.

    Args:
        size: size of the object in bytes, already checked.
        spec: spec of the store.
        extents: where the states lie in the object.
        places: timestep -> stored array of a whole shard, `[S, C, H_k, W_k]`, C-contiguous.
    """

    def __init__(
        self, size: int, spec: TrajectorySpec, extents: Iterable[Extent], places: Mapping[int, npt.NDArray[Any]]
    ) -> None:
        self._spec, self._places = spec, places
        self._strewn, self._states, self._between = list[Extent](), list[memoryview](), memoryview(b"")
        self.parts = list[memoryview]()
        """The parts of memory to fill, in the order of the object's bytes."""
        ordered = sorted(extents, key=_by_start)
        if any(extent.stride != spec.encoding(extent.timestep).state_bytes for extent in ordered):
            self._strewn = ordered
            self.parts.append(np.empty(size, dtype=np.uint8).data)
        else:
            self._part(size, ordered)

    def checksum(self) -> int:
        """Returns a checksum of the object, made of the states' crc32c and the crc32c of the bytes between them.

        One crc32c over all bytes would be the same for every object of a Zarr store, where the bytes between the states
        are the states' own crc32c.
        """
        if self._strewn:
            return crc32c(self.parts[0])
        states = 0
        for part in self._states:
            states = crc32c(part, states)
        return states << 32 | crc32c(self._between)

    def settle(self) -> None:
        """Copies the states that are not in their arrays yet."""
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
