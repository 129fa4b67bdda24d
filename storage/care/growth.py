"""Measures how far an unsealed store has grown, from its spec and one listing.

The final number of shards is not known before the store is sealed: no record states it.
"""

from dataclasses import dataclass

from storage.care.keys import Role, StoreKeys
from storage.layouts import layout_of
from storage.objects import join, list_objects
from storage.records import TrajectorySpec

_COMMITS = "commits"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The committed shards of a growing store."""

    num_shards: int
    """Number of committed shards."""
    total_bytes: int
    """Bytes of their data objects."""
    first_commit: float | None
    """When the oldest commit record was written, in seconds since the epoch; None if there is none."""
    latest_commit: float | None
    """When the newest commit record was written, in seconds since the epoch; None if there is none."""


def measure_growth(uri: str, spec: TrajectorySpec) -> Growth:
    """Measures the committed shards of the store with this spec."""
    keys = StoreKeys(spec)
    records = [info for info in list_objects(join(uri, _COMMITS)) if keys.role(f"{_COMMITS}/{info.key}") is Role.COMMIT]
    times = [info.modified for info in records]
    return Growth(
        num_shards=len(records),
        total_bytes=len(records) * sum(layout_of(spec).object_bytes(spec)),
        first_commit=min(times, default=None),
        latest_commit=max(times, default=None),
    )
