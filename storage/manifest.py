"""The manifest: all that a reader needs to know about a sealed store, without one listing (laws 4 and 9)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.errors import ManifestError, StoreError
from storage.objects import join, read_json, write_bytes
from storage.records import ObjectEntry, StateStatistics, require_keys, require_layout_version
from storage.spec import LAYOUT_VERSION, TrajectorySpec, digest

_KIND = "advkd trajectory store"
_NAME = "manifest.json"
_SHA256_BYTES = 32


@dataclass(frozen=True, eq=False)
class ShardTable:
    """Sizes and hashes of every object of every shard, held as arrays because stores of 100 000 shards exist."""

    templates: tuple[str, ...]
    """Keys of the objects of one shard, `{shard}` standing for its number."""
    sizes: npt.NDArray[np.int64]
    """Bytes, `[shards, objects]`."""
    hashes: npt.NDArray[np.uint8]
    """sha256, `[shards, objects, 32]`."""

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def total_bytes(self) -> int:
        """Bytes of all data objects."""
        return int(self.sizes.sum())

    def entries(self, shard: int) -> tuple[ObjectEntry, ...]:
        """The objects of one shard."""
        return tuple(
            ObjectEntry(key=template.format(shard=shard), size=int(size), sha256=found.tobytes().hex())
            for template, size, found in zip(self.templates, self.sizes[shard], self.hashes[shard], strict=True)
        )

    @classmethod
    def from_entries(cls, templates: tuple[str, ...], shards: Sequence[Sequence[ObjectEntry]]) -> "ShardTable":
        """A table from the entries of every shard, each in the order of the templates."""
        sizes = np.array([[entry.size for entry in entries] for entries in shards], dtype=np.int64)
        raw = b"".join(bytes.fromhex(entry.sha256) for entries in shards for entry in entries)
        return cls(templates, sizes, _as_hashes(raw, len(shards), len(templates)))

    def to_json(self) -> dict[str, Any]:
        """Compact: one row of sizes and one string of joined hashes per shard."""
        return {
            "objects": list(self.templates),
            "bytes": self.sizes.tolist(),
            "sha256": [row.tobytes().hex() for row in self.hashes],
        }

    @classmethod
    def from_json(cls, data: Any) -> "ShardTable":
        """The inverse of `to_json`."""
        require_keys("the shard table", data, ("objects", "bytes", "sha256"))
        templates = tuple(str(template) for template in data["objects"])
        sizes = np.asarray(data["bytes"], dtype=np.int64)
        if sizes.shape != (len(data["sha256"]), len(templates)) or (sizes < 0).any():
            raise ManifestError(
                "the shard table must hold one size per object and shard; the manifest is "
                "damaged: restore it, or delete manifest.json and run `advkd precompute` again"
            )
        return cls(templates, sizes, _as_hashes(bytes.fromhex("".join(data["sha256"])), *sizes.shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """A sealed store. `num_samples` may end inside the last shard, whose tail is then hidden."""

    spec: TrajectorySpec
    digest: str
    num_samples: int
    shards: ShardTable
    metadata: tuple[ObjectEntry, ...]
    """Objects for people's own tools (Zarr's `zarr.json`), not needed by our reader."""
    statistics: Mapping[int, StateStatistics]
    """Per captured timestep, over all stored samples, the hidden tail included."""
    elapsed_seconds: float
    """Sum over the shards that told theirs."""
    writer: str
    created: str
    """When the store was first sealed: ISO 8601, UTC."""
    sealed: str
    """When it was last sealed (extended)."""

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return len(self.shards)

    @property
    def total_bytes(self) -> int:
        """Bytes of all data objects, the hidden tail of the last shard included."""
        return self.shards.total_bytes

    def shard_range(self, shard: int) -> range:
        """The samples that a shard shows."""
        size = self.spec.shard_samples
        return range(shard * size, min((shard + 1) * size, self.num_samples))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` is its inverse."""
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
            "created": self.created,
            "sealed": self.sealed,
        }

    @classmethod
    def from_json(cls, data: Any) -> "Manifest":
        """The manifest that `to_json` wrote; `ManifestError` if it is foreign, newer, damaged or inconsistent."""
        if not isinstance(data, Mapping) or data.get("kind") != _KIND:
            raise ManifestError(f'a manifest must say kind "{_KIND}", and this one does not; it is foreign')
        require_layout_version("a manifest", data)
        require_keys("a manifest", data, {*cls.__dataclass_fields__, "kind", "layout_version"})
        manifest = cls(
            spec=TrajectorySpec.from_json(data["spec"]),
            digest=str(data["digest"]),
            num_samples=int(data["num_samples"]),
            shards=ShardTable.from_json(data["shards"]),
            metadata=tuple(ObjectEntry.from_json(entry) for entry in data["metadata"]),
            statistics={int(t): StateStatistics.from_json(values) for t, values in data["statistics"].items()},
            elapsed_seconds=float(data["elapsed_seconds"]),
            writer=str(data["writer"]),
            created=str(data["created"]),
            sealed=str(data["sealed"]),
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
                f"{self.num_samples} samples need ceil(N / {self.spec.shard_samples}) shards, but the manifest lists "
                f"{self.num_shards}; restore it, or delete manifest.json and run `advkd precompute` again"
            )
        if tuple(self.statistics) != self.spec.timesteps:
            raise ManifestError(
                f"a manifest's statistics must cover the timesteps {self.spec.timesteps}, got "
                f"{tuple(self.statistics)}; restore it, or delete manifest.json and run `advkd precompute` again"
            )


def manifest_uri(uri: str) -> str:
    """Where the manifest of a store lives."""
    return join(uri, _NAME)


def read_manifest(uri: str) -> Manifest:
    """The manifest of a store; `StoreNotFoundError` if there is none, `ManifestError` if it cannot be trusted."""
    address = manifest_uri(uri)
    try:
        return Manifest.from_json(read_json(address))
    except (FileNotFoundError, PermissionError, ConnectionError):
        raise
    except (StoreError, AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ManifestError(f"{address} cannot be used: {error}") from error


def write_manifest(uri: str, manifest: Manifest) -> None:
    """Publish a sealed store; the last write of sealing."""
    write_bytes(manifest_uri(uri), (json.dumps(manifest.to_json(), allow_nan=False) + "\n").encode())


def _as_hashes(raw: bytes, shards: int, objects: int) -> npt.NDArray[np.uint8]:
    if len(raw) != shards * objects * _SHA256_BYTES:
        raise ManifestError(
            "the shard table must hold one sha256 per object and shard; the manifest is "
            "damaged: restore it, or delete manifest.json and run `advkd precompute` again"
        )
    return np.frombuffer(raw, dtype=np.uint8).reshape(shards, objects, _SHA256_BYTES)
