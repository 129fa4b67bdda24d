"""What a watcher remembers: one small JSON object per place and per finished distillation, below one URI.

Losing any of it costs work, never correctness: a teacher is read again, a broken one is reported again. So two
watchers may share it, and a record that does not parse is one that is not there.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from advkd.files import record_from_json
from storage.errors import StoreNotFoundError
from storage.objects import exists, join, read_bytes, write_json


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a place.

    Attributes:
        place: as in `Candidate`.
        stamp: the listing, and the question, that the rest belongs to.
        since: when this stamp was first seen, in seconds since the epoch.
        fingerprint: of the teacher, once it was read and found to be one.
        problem: why it is none.
    """

    place: str
    stamp: str
    since: float
    fingerprint: str | None
    problem: str | None


@dataclass(frozen=True)
class Memory:
    """The records below a URI."""

    uri: str

    def recall(self, place: str) -> Record | None:
        """What is known of a place; `StoreError` if the memory cannot be asked."""
        try:
            found = record_from_json(Record, read_bytes(self._place(place)))
        except (StoreNotFoundError, ValueError):
            return None
        return found if found.place == place else None

    def remember(self, record: Record) -> None:
        """Replaces what is known of a place, all or nothing."""
        write_json(self._place(record.place), asdict(record))

    def is_finished(self, order: str) -> bool:
        """Whether the distillation of that digest is known to have ended well."""
        return exists(self._order(order))

    def finish(self, order: str, facts: dict[str, Any]) -> None:
        """Notes that it has, for the time when Prefect has forgotten its run."""
        write_json(self._order(order), facts)

    def _place(self, place: str) -> str:
        return join(self.uri, "places", f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json")

    def _order(self, order: str) -> str:
        return join(self.uri, "finished", f"{order}.json")
