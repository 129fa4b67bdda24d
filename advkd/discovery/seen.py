"""The memory of a watcher: one small JSON object per place and per finished distillation, below one URI.

Losing a record costs work, never correctness: a teacher is read again, a broken one is reported again. So two watchers
may share the memory, and a record that does not parse counts as missing.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from advkd.files import record_from_json
from storage.errors import StoreNotFoundError
from storage.objects import exists, join, read_bytes, write_json


@dataclass(frozen=True, kw_only=True)
class Record:
    """Facts about a place.

    Attributes:
        place: as in `Candidate`.
        stamp: identifies the listing and the question that the other facts belong to.
        since: when this stamp was first seen, in seconds since the epoch.
        fingerprint: fingerprint of the teacher, once it was read and accepted.
        source: the place, with the guidance scale that its teacher takes.
        problem: why the place holds no teacher that can be distilled.
    """

    place: str
    stamp: str
    since: float
    fingerprint: str | None
    source: str
    problem: str | None


@dataclass(frozen=True)
class Memory:
    """The records below a URI."""

    uri: str

    def recall(self, place: str) -> Record | None:
        """Returns the record of a place, None if there is none; raises `StoreError` if the memory cannot be read."""
        try:
            record = record_from_json(Record, read_bytes(self._place(place)))
        except (StoreNotFoundError, ValueError):
            return None
        return record if record.place == place else None

    def remember(self, record: Record) -> None:
        """Replaces the record of a place, all or nothing."""
        write_json(self._place(record.place), asdict(record))

    def is_finished(self, order: str) -> bool:
        """Returns whether the distillation with this digest is known to have succeeded."""
        return exists(self._order(order))

    def finish(self, order: str, facts: dict[str, Any]) -> None:
        """Records that a distillation succeeded, because Prefect may forget its run."""
        write_json(self._order(order), facts)

    def _place(self, place: str) -> str:
        return join(self.uri, "places", f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json")

    def _order(self, order: str) -> str:
        return join(self.uri, "finished", f"{order}.json")
