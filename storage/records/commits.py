"""Commit records: a shard exists once its record does, and the record is written last (law 3)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from storage.errors import ManifestError, StoreError, StoreNotFoundError
from storage.objects import join, list_objects, read_bytes, write_bytes
from storage.records.checked_json import dump_checked, load_checked
from storage.records.fields import (
    ObjectEntry,
    StateStatistics,
    finite_number,
    list_of,
    require_keys,
    require_layout_version,
    sha256_digits,
    statistics_from_json,
    text,
    whole_number,
)
from storage.records.spec import LAYOUT_VERSION

_FOLDER = "commits"
_NAME = re.compile(r"(\d{6,})\.json")
# A name of five digits and a zero before them sorts before that of every greater number.
_LAST_IN_ORDER = 99_999


@dataclass(frozen=True, kw_only=True)
class CommitRecord:
    """The record of one finished shard."""

    digest: str
    """Digest of the spec that the shard belongs to."""
    shard: int
    """Number of the shard."""
    start: int
    """First sample."""
    stop: int
    """One past the last sample."""
    objects: tuple[ObjectEntry, ...]
    """The shard's objects, in the layout's order."""
    statistics: Mapping[int, StateStatistics]
    """Statistics by captured timestep."""
    noise_sha256: str | None
    """sha256 of the shard's noise if it is not stored, else None."""
    writer: str
    """Name and version of the package that wrote the shard."""
    revision: str
    """Revision of the code: git commit, or version."""
    author: str
    """Who ran the code: `user@host`, or the value of ADVKD_AUTHOR."""
    elapsed_seconds: float | None
    """Wall time of computing and writing the shard, in seconds; None if unknown."""
    created: str
    """Time of the commit: ISO 8601, UTC."""

    @property
    def total_bytes(self) -> int:
        """Bytes of all objects of the shard."""
        return sum(entry.size for entry in self.objects)

    def to_json(self) -> dict[str, Any]:
        """Returns the record as plain JSON."""
        return {
            "layout_version": LAYOUT_VERSION,
            "digest": self.digest,
            "shard": self.shard,
            "start": self.start,
            "stop": self.stop,
            "objects": [entry.to_json() for entry in self.objects],
            "statistics": {str(t): values.to_json() for t, values in self.statistics.items()},
            "noise_sha256": self.noise_sha256,
            "writer": self.writer,
            "revision": self.revision,
            "author": self.author,
            "elapsed_seconds": self.elapsed_seconds,
            "created": self.created,
        }

    @classmethod
    def from_json(cls, data: Any) -> "CommitRecord":
        """Inverts `to_json`; raises `ManifestError` for any other data."""
        require_layout_version("a commit record", data)
        require_keys("a commit record", data, {*cls.__dataclass_fields__, "layout_version"})
        elapsed = data["elapsed_seconds"]
        return cls(
            digest=sha256_digits(data["digest"]),
            shard=whole_number("shard", data["shard"]),
            start=whole_number("start", data["start"]),
            stop=whole_number("stop", data["stop"]),
            objects=tuple(ObjectEntry.from_json(entry) for entry in list_of("objects", data["objects"])),
            statistics=statistics_from_json(data["statistics"]),
            noise_sha256=None if data["noise_sha256"] is None else sha256_digits(data["noise_sha256"]),
            writer=text("writer", data["writer"]),
            revision=text("revision", data["revision"]),
            author=text("author", data["author"]),
            elapsed_seconds=None if elapsed is None else finite_number("elapsed_seconds", elapsed),
            created=text("created", data["created"]),
        )


def commit_uri(uri: str, shard: int) -> str:
    """Returns the URI of a shard's record."""
    return join(uri, _FOLDER, f"{shard:06d}.json")


def write_commit(uri: str, record: CommitRecord) -> None:
    """Publishes a shard by writing its record; all its objects must be written."""
    write_bytes(commit_uri(uri, record.shard), dump_checked(record.to_json()))


def read_commit(uri: str, shard: int) -> CommitRecord:
    """Reads the record of a finished shard; raises `ManifestError` if it is damaged or belongs to another shard."""
    address = commit_uri(uri, shard)
    remedy = (
        f"run `advkd cache repair {quote(uri)}`, or, while the store grows, delete the record and run precompute again"
    )
    try:
        record = CommitRecord.from_json(load_checked(read_bytes(address)))
    except (StoreNotFoundError, PermissionError, ConnectionError):
        raise
    except StoreError as error:
        raise ManifestError(f"{address} must be a commit record: {error}; {remedy}") from error
    if record.shard != shard:
        raise ManifestError(
            f"{address} must be the record of shard {shard}, got that of shard {record.shard}; {remedy}"
        )
    return record


def committed_shards(uri: str, *, after: int = -1) -> set[int]:
    """Returns the numbers of the finished shards greater than `after`, from one listing that skips the others."""
    skipped = f"{after:06d}.json" if 0 <= after <= _LAST_IN_ORDER else ""
    listed = list_objects(join(uri, _FOLDER), start_after=skipped)
    numbers = {int(match.group(1)) for entry in listed if (match := _NAME.fullmatch(entry.key))}
    return {number for number in numbers if number > after}


def run_facts_apart(one: CommitRecord, other: CommitRecord) -> bool:
    """Returns whether two records are equal apart from the run's facts: author, code, time and duration."""
    facts = {name: getattr(one, name) for name in ("writer", "revision", "author", "elapsed_seconds", "created")}
    # Compared as JSON, because entries compare equal even if their crc32 differ.
    return one.to_json() == replace(other, **facts).to_json()
