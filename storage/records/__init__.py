"""The records of a store: spec and digest, manifest, commit records, checksums, seeds.

Holds numbers and JSON only, and does not know the content of a shard's objects.
"""

from storage.records.byte_cache import ByteCache
from storage.records.checked_json import dump_checked, load_checked
from storage.records.commits import (
    CommitRecord,
    commit_uri,
    committed_shards,
    read_commit,
    run_facts_apart,
    write_commit,
)
from storage.records.encoding import StateEncoding, StateTally
from storage.records.fields import ObjectEntry, StateStatistics, pooled, utc_now
from storage.records.identity import IDENTITY, announce, read_identity, require_same_spec, write_identity
from storage.records.manifest import (
    MANIFEST,
    Manifest,
    copy_key,
    manifest_uri,
    newest_copy,
    read_copy,
    read_manifest,
    restore_manifest,
    same_store,
    write_manifest,
)
from storage.records.plain import make_plain
from storage.records.problems import ShardProblem, hash_problem, missing_problem, size_problem
from storage.records.provenance import author, code_revision, writer_version
from storage.records.ranges import PIECE_BYTES, ObjectPart, forget_objects, piece_checksums, read_pieces
from storage.records.seeding import check_seed, condition_generator, initial_noise, solver_seeds
from storage.records.shard_index import PAGE_SHARDS, ShardIndex, write_index
from storage.records.spec import (
    DTYPES,
    LAYOUT_VERSION,
    NOISES,
    TrajectorySpec,
    default_block_samples,
    default_shard_samples,
    digest,
    store_uri,
)
from storage.records.unstored_noise import NOISE, drawn_noise, noise_sha256, seeded_noise, start_noise

__all__ = [
    "DTYPES",
    "IDENTITY",
    "LAYOUT_VERSION",
    "MANIFEST",
    "NOISE",
    "NOISES",
    "PAGE_SHARDS",
    "PIECE_BYTES",
    "ByteCache",
    "CommitRecord",
    "Manifest",
    "ObjectEntry",
    "ObjectPart",
    "ShardIndex",
    "ShardProblem",
    "StateEncoding",
    "StateStatistics",
    "StateTally",
    "TrajectorySpec",
    "announce",
    "author",
    "check_seed",
    "code_revision",
    "commit_uri",
    "committed_shards",
    "condition_generator",
    "copy_key",
    "default_block_samples",
    "default_shard_samples",
    "digest",
    "drawn_noise",
    "dump_checked",
    "forget_objects",
    "hash_problem",
    "initial_noise",
    "load_checked",
    "make_plain",
    "manifest_uri",
    "missing_problem",
    "newest_copy",
    "noise_sha256",
    "piece_checksums",
    "pooled",
    "read_commit",
    "read_copy",
    "read_identity",
    "read_manifest",
    "read_pieces",
    "require_same_spec",
    "restore_manifest",
    "run_facts_apart",
    "same_store",
    "seeded_noise",
    "size_problem",
    "solver_seeds",
    "start_noise",
    "store_uri",
    "utc_now",
    "write_commit",
    "write_identity",
    "write_index",
    "write_manifest",
    "writer_version",
]
