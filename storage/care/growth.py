"""How far a store has come that is not sealed yet, from its spec and one listing.

How many shards it is going to have is written nowhere before it is sealed.
"""

from dataclasses import dataclass

from storage.care.keys import Role, StoreKeys
from storage.layouts import layout_of
from storage.objects import join, list_objects
from storage.records import TrajectorySpec

_COMMITS = "commits"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The shards that a growing store has."""

    num_shards: int
    """Committed shards."""
    total_bytes: int
    """Of their data objects."""
    first_commit: float | None
    """When the oldest commit record was written, in seconds since the epoch; None if there is none."""
    latest_commit: float | None
    """The same of the newest."""


def measure_growth(uri: str, spec: TrajectorySpec) -> Growth:
    """What is committed of the store of a spec."""
    keys = StoreKeys(spec)
    records = [one for one in list_objects(join(uri, _COMMITS)) if keys.role(f"{_COMMITS}/{one.key}") is Role.COMMIT]
    times = [one.modified for one in records]
    return Growth(
        num_shards=len(records),
        total_bytes=len(records) * sum(layout_of(spec).object_bytes(spec)),
        first_commit=min(times, default=None),
        latest_commit=max(times, default=None),
    )
