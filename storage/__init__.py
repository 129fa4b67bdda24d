"""The trajectory store: a manifest and checked shards under one URI, Zarr or WebDataset, on disk or in S3.

Knows numpy, fsspec and zarr; must not import torch, diffusers or Prefect. See `docs/` and the module docstrings.
"""

from storage.base import Buffer, Reader, States, Writer
from storage.byte_cache import ByteCache
from storage.commits import CommitRecord
from storage.errors import (
    GridMismatchError,
    ManifestError,
    NonFiniteError,
    ShardCorruptError,
    SpecMismatchError,
    StoreError,
    StoreFullError,
    StoreIncompleteError,
    StoreNotFoundError,
    StorePermissionError,
    StoreUnreachableError,
    ValueRangeError,
)
from storage.growing import open_growing
from storage.growth import Growth, measure_growth
from storage.identity import read_identity
from storage.integrity import verify
from storage.listing import StoreSummary, list_stores, summarize
from storage.loader import Batch, TrajectoryLoader
from storage.manifest import Manifest, read_manifest, restore_manifest
from storage.objects import (
    delete,
    exists,
    join,
    list_folders,
    list_prefix,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
)
from storage.problems import ShardProblem
from storage.reading import open_store
from storage.records import ObjectEntry, StateStatistics
from storage.shard_index import ShardIndex
from storage.spec import (
    LAYOUT_VERSION,
    TrajectorySpec,
    default_shard_samples,
    digest,
    store_uri,
)
from storage.store import is_sealed, missing_shards, open_writer, seal

__all__ = [
    "LAYOUT_VERSION",
    "Batch",
    "Buffer",
    "ByteCache",
    "CommitRecord",
    "GridMismatchError",
    "Growth",
    "Manifest",
    "ManifestError",
    "NonFiniteError",
    "ObjectEntry",
    "Reader",
    "ShardCorruptError",
    "ShardIndex",
    "ShardProblem",
    "SpecMismatchError",
    "StateStatistics",
    "States",
    "StoreError",
    "StoreFullError",
    "StoreIncompleteError",
    "StoreNotFoundError",
    "StorePermissionError",
    "StoreSummary",
    "StoreUnreachableError",
    "TrajectoryLoader",
    "TrajectorySpec",
    "ValueRangeError",
    "Writer",
    "default_shard_samples",
    "delete",
    "digest",
    "exists",
    "is_sealed",
    "join",
    "list_folders",
    "list_prefix",
    "list_stores",
    "measure_growth",
    "missing_shards",
    "open_growing",
    "open_store",
    "open_writer",
    "read_bytes",
    "read_identity",
    "read_json",
    "read_manifest",
    "restore_manifest",
    "seal",
    "store_uri",
    "summarize",
    "verify",
    "write_bytes",
    "write_json",
]
