"""Commit records: a shard exists when its record does, and the record is written last (law 3)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.errors import ManifestError, StoreError
from storage.objects import join, list_prefix, read_json, write_json
from storage.records import ObjectEntry, StateStatistics, require_keys, require_layout_version
from storage.spec import LAYOUT_VERSION

_FOLDER = "commits"
_NAME = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True, kw_only=True)
class CommitRecord:
    """What one finished shard consists of."""

    digest: str
    """Of the spec that the shard belongs to."""
    shard: int
    """Its number."""
    start: int
    """First sample."""
    stop: int
    """One past the last sample."""
    objects: tuple[ObjectEntry, ...]
    """Its objects, in the layout's order."""
    statistics: Mapping[int, StateStatistics]
    """Per captured timestep."""
    writer: str
    """Name and version of the package that wrote it."""
    elapsed_seconds: float | None
    """Wall time of computing and writing it, None if the caller did not say."""
    created: str
    """ISO 8601, UTC."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "layout_version": LAYOUT_VERSION,
            "digest": self.digest,
            "shard": self.shard,
            "start": self.start,
            "stop": self.stop,
            "objects": [entry.to_json() for entry in self.objects],
            "statistics": {str(t): values.to_json() for t, values in self.statistics.items()},
            "writer": self.writer,
            "elapsed_seconds": self.elapsed_seconds,
            "created": self.created,
        }

    @classmethod
    def from_json(cls, data: Any) -> "CommitRecord":
        """The inverse of `to_json`; `ManifestError` for anything else."""
        require_layout_version("a commit record", data)
        require_keys("a commit record", data, {*cls.__dataclass_fields__, "layout_version"})
        elapsed = data["elapsed_seconds"]
        return cls(
            digest=str(data["digest"]),
            shard=int(data["shard"]),
            start=int(data["start"]),
            stop=int(data["stop"]),
            objects=tuple(ObjectEntry.from_json(entry) for entry in data["objects"]),
            statistics={int(t): StateStatistics.from_json(values) for t, values in data["statistics"].items()},
            writer=str(data["writer"]),
            elapsed_seconds=None if elapsed is None else float(elapsed),
            created=str(data["created"]),
        )


def commit_uri(uri: str, shard: int) -> str:
    """Where the record of a shard lives."""
    return join(uri, _FOLDER, f"{shard:06d}.json")


def write_commit(uri: str, record: CommitRecord) -> None:
    """Publish a shard whose objects are all written."""
    write_json(commit_uri(uri, record.shard), record.to_json())


def read_commit(uri: str, shard: int) -> CommitRecord:
    """The record of a finished shard; `ManifestError` if it is damaged or another shard's."""
    address = commit_uri(uri, shard)
    try:
        record = CommitRecord.from_json(read_json(address))
    except FileNotFoundError:
        raise
    except (StoreError, AttributeError, TypeError, ValueError) as error:
        raise ManifestError(
            f"{address} must be a commit record: {error}; delete it and run precompute again"
        ) from error
    if record.shard != shard:
        raise ManifestError(
            f"{address} must be the record of shard {shard}, got that of shard {record.shard}; "
            "delete it and run precompute again"
        )
    return record


def committed_shards(uri: str) -> set[int]:
    """Numbers of all finished shards, from one listing."""
    return {int(found.group(1)) for key in list_prefix(join(uri, _FOLDER)) if (found := _NAME.fullmatch(key))}
