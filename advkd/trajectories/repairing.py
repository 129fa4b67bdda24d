"""Repairs a store: makes only those objects again that differ from what was committed."""

from collections.abc import Sequence
from dataclasses import dataclass

from advkd.device import torch_threads
from advkd.networks import keep_embeddings
from advkd.teachers import EMBEDDED, FLOAT32, PRECISION, SolverSpec, Teacher, in_precision, load_teacher, micro_batch
from advkd.trajectories.shard import Progress, shifted, write_shard
from storage import (
    ManifestError,
    SpecMismatchError,
    StoreIncompleteError,
    TrajectorySpec,
    open_writer,
    restore_manifest,
    store_uri,
    verify,
)
from storage.care import keep_commit, mend, read_good_commit
from storage.reading import open_manifest
from storage.records import IDENTITY, MANIFEST, write_identity


@dataclass(frozen=True)
class RepairResult:
    """Shards that were computed again, and whether records, index or metadata were written again."""

    uri: str
    shards: tuple[int, ...]
    metadata: bool


def repair(
    uri: str,
    teacher: str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    micro_batch_samples: int | None = None,
) -> RepairResult:
    """Verifies a sealed store and makes its damaged objects again; intact ones are not changed.

    A damaged or deleted manifest is restored from its copy, an index page from the commit records. A shard is computed
    again if one of its objects or its commit record is damaged. On the machine that wrote the store the bytes are the
    same as before, except those of a damaged commit record, which gets the new author and time. On another machine the
    last bits of states may differ; then commit record, index and manifest are replaced too.

    Args:
        uri: URI of the store.
        teacher: place of the store's teacher if it is not an embedded one.
        device: torch device of the teacher.
        progress: `progress(samples done, samples to compute)`.
        micro_batch_samples: see `PrecomputeSpec.micro_batch`; the number that the store was computed with.

    Raises:
        SpecMismatchError: the store was computed with another teacher; nothing was written.
        StoreIncompleteError: the store is still growing.
        StoreError: the manifest and its copy are damaged, or the store cannot be written.
    """
    restored = _restored(uri)
    problems = verify(uri)
    if any(problem.key == MANIFEST for problem in problems):
        # The manifest is intact, but older than its newest copy.
        restore_manifest(uri)
        restored, problems = True, verify(uri)
    manifest = open_manifest(uri)
    shards = tuple(sorted({problem.shard for problem in problems if problem.shard is not None}))
    keys = {problem.key for problem in problems if problem.shard is None}
    # All checks that can fail come before the first write.
    if shards or IDENTITY in keys:
        _require_home(manifest.spec, uri)
    loaded = _load(manifest.spec, teacher, device) if shards else None
    if IDENTITY in keys:
        # Written before the shards, because their writer reads it.
        write_identity(uri, manifest.spec)
    if loaded is not None:
        _compute(loaded, manifest.spec, uri, shards, progress, micro_batch_samples)
    mend(uri, manifest, keys, shards)
    return RepairResult(uri, shards, bool(keys) or restored)


def _restored(uri: str) -> bool:
    try:
        open_manifest(uri)
    except ManifestError:
        restore_manifest(uri)
        return True
    except StoreIncompleteError as growing:
        # The manifest was deleted, or sealing was killed before its last write; a growing store has no copy.
        try:
            restore_manifest(uri)
        except ManifestError:
            raise growing from None
        return True
    return False


def _root(uri: str) -> str:
    return uri.rstrip("/").rsplit("/", 2)[0]


def _require_home(identity: TrajectorySpec, uri: str) -> None:
    if store_uri(_root(uri), identity) != uri.rstrip("/"):
        raise SpecMismatchError(
            f"a store is repaired where it was written, <root>/{identity.teacher}/<digest>, got {uri}; move it back"
        )


def _compute(
    teacher: Teacher,
    identity: TrajectorySpec,
    uri: str,
    shards: Sequence[int],
    progress: Progress | None,
    asked: int | None,
) -> None:
    keep_embeddings(_root(uri), teacher.conditions)
    writer, total = open_writer(_root(uri), identity), len(shards) * identity.shard_samples
    solver = SolverSpec(kind=identity.sampler, steps=identity.solver_steps)
    at_once = micro_batch(teacher, solver, identity.block_samples, asked).samples
    # The shards were computed with one thread, and sums depend on it.
    with torch_threads(1):
        for position, index in enumerate(shards):
            before = read_good_commit(uri, index)
            moved = progress and shifted(progress, position * identity.shard_samples, total)
            keep_commit(uri, before, write_shard(teacher, writer, identity, index, moved, None, at_once))


def _load(identity: TrajectorySpec, source: str | None, device: str) -> Teacher:
    if source is None and identity.teacher not in EMBEDDED:
        raise SpecMismatchError(
            f"a store is repaired with its teacher, and {identity.teacher!r} is none of the embedded "
            f"{sorted(EMBEDDED)}; say where it is with --teacher FOLDER_OR_HUB_ID"
        )
    precision = str(identity.sampler_config.get(PRECISION, FLOAT32))
    loaded = in_precision(load_teacher(source or identity.teacher, device), precision, device)
    if loaded.fingerprint != identity.fingerprint:
        raise SpecMismatchError(
            f"a store is repaired with the teacher that it was computed with, fingerprint {identity.fingerprint}, got "
            f"{loaded.fingerprint} from {source or identity.teacher!r}; name that teacher with --teacher"
        )
    return loaded
