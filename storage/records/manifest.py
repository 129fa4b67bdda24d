"""The manifest: everything that a reader needs to know about a sealed store, without a listing (laws 4 and 11)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any

from storage.errors import ManifestError, StoreError, StoreNotFoundError
from storage.objects import join, list_prefix, read_bytes, write_bytes
from storage.records.checked_json import dump_checked, load_checked
from storage.records.fields import (
    ObjectEntry,
    StateStatistics,
    finite_number,
    list_of,
    require_keys,
    require_layout_version,
    statistics_from_json,
    text,
    whole_number,
)
from storage.records.shard_index import ShardIndex
from storage.records.spec import LAYOUT_VERSION, TrajectorySpec, digest

_KIND = "advkd trajectory store"
MANIFEST = "manifest.json"
"""Key of the manifest."""

_COPIES = "seals"
_COPY_NAME = re.compile(r"(\d{12,})\.json")
_RUN_FACTS = ("elapsed_seconds", "writer", "revisions", "author", "created", "sealed")
_WHOLE_NUMBERS = ("base_seed", "solver_steps", "shard_samples", "block_samples")


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """The record of a sealed store. `num_samples` may end inside the last shard, whose tail is then hidden."""

    spec: TrajectorySpec
    digest: str
    num_samples: int
    shards: ShardIndex
    metadata: tuple[ObjectEntry, ...]
    """Objects for other tools (Zarr's `zarr.json`), which our reader does not need."""
    statistics: Mapping[int, StateStatistics]
    """Statistics by captured timestep, over all stored samples, hidden ones included."""
    elapsed_seconds: float
    """Sum over the shards whose time is known, in seconds."""
    writer: str
    """Name and version of the package that sealed the store."""
    revisions: tuple[str, ...]
    """Revisions of the code that computed and sealed the shards: git commits, or versions."""
    author: str
    """Who sealed the store last: `user@host`, or the value of ADVKD_AUTHOR."""
    created: str
    """When the store was first sealed: ISO 8601, UTC."""
    sealed: str
    """When the store was last sealed (extended): ISO 8601, UTC."""

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return len(self.shards)

    @property
    def total_bytes(self) -> int:
        """Bytes of all data objects, hidden samples of the last shard included."""
        return self.shards.total_bytes

    def shard_range(self, shard: int) -> range:
        """Returns the numbers of the samples that readers see of a shard."""
        size = self.spec.shard_samples
        return range(shard * size, min((shard + 1) * size, self.num_samples))

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest as plain JSON; `from_json` is its inverse."""
        return {
            "kind": _KIND,
            "layout_version": LAYOUT_VERSION,
            "digest": self.digest,
            "spec": self.spec.to_json(),
            "num_samples": self.num_samples,
            "shards": self.shards.to_json(),
            "metadata": [entry.to_json() for entry in self.metadata],
            "statistics": {str(t): values.to_json() for t, values in self.statistics.items()},
            "elapsed_seconds": self.elapsed_seconds,
            "writer": self.writer,
            "revisions": list(self.revisions),
            "author": self.author,
            "created": self.created,
            "sealed": self.sealed,
        }

    @classmethod
    def from_json(cls, uri: str, data: Any) -> "Manifest":
        """Inverts `to_json`; raises `ManifestError` if the data is foreign, newer, damaged or inconsistent."""
        if not isinstance(data, Mapping) or data.get("kind") != _KIND:
            raise ManifestError(f'a manifest must say kind "{_KIND}", and this one does not; it is foreign')
        require_layout_version("a manifest", data)
        require_keys("a manifest", data, {*cls.__dataclass_fields__, "kind", "layout_version"})
        manifest = cls(
            spec=_spec_as_written(data["spec"]),
            digest=text("digest", data["digest"]),
            num_samples=whole_number("num_samples", data["num_samples"]),
            shards=ShardIndex.from_json(uri, data["shards"]),
            metadata=tuple(ObjectEntry.from_json(entry) for entry in list_of("metadata", data["metadata"])),
            statistics=statistics_from_json(data["statistics"]),
            elapsed_seconds=finite_number("elapsed_seconds", data["elapsed_seconds"]),
            writer=text("writer", data["writer"]),
            revisions=tuple(text("a revision", revision) for revision in list_of("revisions", data["revisions"])),
            author=text("author", data["author"]),
            created=text("created", data["created"]),
            sealed=text("sealed", data["sealed"]),
        )
        manifest._check()
        return manifest

    def _check(self) -> None:
        if self.digest != digest(self.spec):
            raise ManifestError(
                f"a manifest's digest must be that of its spec, got {self.digest} for {digest(self.spec)}; "
                "it was edited: restore it, or delete manifest.json and run `advkd precompute` again"
            )
        if self.num_samples < 1 or self.spec.num_shards(self.num_samples) != self.num_shards:
            raise ManifestError(
                f"a manifest must list 1 sample or more, and the shards of {self.spec.shard_samples} that they fill; "
                f"this one of {self.num_samples} samples lists {self.num_shards} shards; restore it, or delete "
                "manifest.json and run `advkd precompute` again"
            )
        if self.shards.seeded_noise != (self.spec.noise == "seeded"):
            raise ManifestError(
                "a shard index must hold hashes of the noise exactly where the noise is seeded; restore the manifest, "
                "or delete manifest.json and run `advkd precompute` again"
            )
        if tuple(self.statistics) != self.spec.timesteps:
            raise ManifestError(
                f"a manifest's statistics must cover the timesteps {self.spec.timesteps}, got "
                f"{tuple(self.statistics)}; restore it, or delete manifest.json and run `advkd precompute` again"
            )


def same_store(one: Manifest, other: Manifest) -> bool:
    """Returns whether two manifests are equal apart from the run's facts: author, code, times and durations."""
    ours, theirs = ({k: v for k, v in each.to_json().items() if k not in _RUN_FACTS} for each in (one, other))
    return ours == theirs


def manifest_uri(uri: str) -> str:
    """Returns the URI of a store's manifest."""
    return join(uri, MANIFEST)


def copy_key(num_samples: int) -> str:
    """Returns the key of the copy of the manifest that seals a store of `num_samples` samples."""
    return f"{_COPIES}/{num_samples:012d}.json"


def read_manifest(uri: str) -> Manifest:
    """Reads the manifest of a store.

    Raises:
        StoreNotFoundError: there is no manifest.
        ManifestError: the manifest is foreign, newer, damaged or inconsistent.
    """
    return _read(uri, MANIFEST)


def read_copy(uri: str, num_samples: int) -> Manifest:
    """Reads the copy of a manifest; raises the errors of `read_manifest`."""
    return _read(uri, copy_key(num_samples))


def write_manifest(uri: str, manifest: Manifest) -> None:
    """Publishes a sealed store, as the last write of sealing; first writes a copy from which it can be restored."""
    data = dump_checked(manifest.to_json())
    write_bytes(join(uri, copy_key(manifest.num_samples)), data)
    write_bytes(manifest_uri(uri), data)


def newest_copy(uri: str) -> int | None:
    """Returns the number of samples in the copy with the most samples, None if there is no copy."""
    matches = (_COPY_NAME.fullmatch(name) for name in list_prefix(join(uri, _COPIES)))
    return max((int(match.group(1)) for match in matches if match), default=None)


def restore_manifest(uri: str) -> Manifest:
    """Replaces the manifest by its newest copy; raises `ManifestError` if there is no copy, or it is damaged.

    An older copy is not used: the store would silently lose samples.
    """
    newest = newest_copy(uri)
    remedy = (
        f"delete {manifest_uri(uri)} if it is there and run precompute with the same settings again, it seals what is "
        "committed"
    )
    if newest is None:
        raise ManifestError(f"a manifest is restored from a copy in {join(uri, _COPIES)}, but there is none; {remedy}")
    try:
        manifest, data = _parsed(uri, copy_key(newest))
    except ManifestError as error:
        raise ManifestError(
            f"a manifest is restored from its copy, but that cannot be used either ({error}); {remedy}"
        ) from error
    write_bytes(manifest_uri(uri), data)
    return manifest


def _spec_as_written(data: object) -> TrajectorySpec:
    """Parses the spec of a manifest strictly: 8.0 and true are not integers."""
    spec = TrajectorySpec.from_json(data)
    for name in _WHOLE_NUMBERS:
        whole_number(name, getattr(spec, name))
    if json.dumps(spec.to_json(), sort_keys=True) != json.dumps(data, sort_keys=True):
        raise ManifestError("a manifest must hold its spec as it was written, and this one was edited; restore it")
    return spec


def _read(uri: str, key: str) -> Manifest:
    return _parsed(uri, key)[0]


def _parsed(uri: str, key: str) -> tuple[Manifest, bytes]:
    """Returns a manifest and its bytes."""
    address = join(uri, key)
    try:
        data = read_bytes(address)
    except (StoreNotFoundError, PermissionError, ConnectionError):
        raise
    except StoreError as error:
        # Nothing can be repaired where nothing can be read: a link to itself, a broken disk.
        raise ManifestError(str(error)) from error
    try:
        manifest = Manifest.from_json(uri, load_checked(data))
    except StoreError as error:
        raise ManifestError(
            f"{address} cannot be used: {error}; `advkd cache repair {quote(uri)}` restores it"
        ) from error
    if key not in (MANIFEST, copy_key(manifest.num_samples)):
        raise ManifestError(
            f"{address} must be the copy of a manifest of so many samples, got one of {manifest.num_samples}; "
            f"`advkd cache repair {quote(uri)}` restores it"
        )
    return manifest, data
