"""The trajectory store: a manifest and checked shards under one URI, Zarr or WebDataset, on disk or in S3.

Knows numpy, fsspec and zarr; must not import torch, diffusers or Prefect. See `docs/` and the module docstrings.
"""

from storage.base import Reader, States, Writer
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
)
from storage.identity import read_identity
from storage.integrity import ShardProblem, verify
from storage.loader import Batch, TrajectoryLoader
from storage.manifest import Manifest, ShardTable, read_manifest
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
from storage.reading import open_store
from storage.records import ObjectEntry, StateStatistics
from storage.spec import (
    LAYOUT_VERSION,
    TrajectorySpec,
    default_block_samples,
    default_shard_samples,
    digest,
    store_uri,
)
from storage.store import StoreSummary, is_sealed, list_stores, missing_shards, open_writer, seal, summarize

__all__ = [
    "LAYOUT_VERSION",
    "Batch",
    "CommitRecord",
    "GridMismatchError",
    "Manifest",
    "ManifestError",
    "NonFiniteError",
    "ObjectEntry",
    "Reader",
    "ShardCorruptError",
    "ShardProblem",
    "ShardTable",
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
    "Writer",
    "default_block_samples",
    "default_shard_samples",
    "delete",
    "digest",
    "exists",
    "is_sealed",
    "join",
    "list_folders",
    "list_prefix",
    "list_stores",
    "missing_shards",
    "open_store",
    "open_writer",
    "read_bytes",
    "read_identity",
    "read_json",
    "read_manifest",
    "seal",
    "store_uri",
    "summarize",
    "verify",
    "write_bytes",
    "write_json",
]
