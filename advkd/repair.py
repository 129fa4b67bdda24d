"""Repairing a store: what is not what was committed is made again, that alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from advkd.cpu import torch_threads
from advkd.teachers import EMBEDDED, Teacher, load_teacher
from advkd.trajectories import Progress, shifted, write_shard
from storage import (
    ManifestError,
    SpecMismatchError,
    TrajectorySpec,
    open_writer,
    read_manifest,
    restore_manifest,
    store_uri,
    verify,
)
from storage.identity import IDENTITY, write_identity
from storage.mending import keep_commit, mend, read_good_commit


@dataclass(frozen=True)
class RepairResult:
    """Which shards were computed again, and whether records, index or metadata were written again."""

    uri: str
    shards: tuple[int, ...]
    metadata: bool


def repair(uri: str, teacher: str | None = None, device: str = "cpu", progress: Progress | None = None) -> RepairResult:
    """Verifies a sealed store and makes its damaged objects again; good ones are not touched.

    A damaged manifest is restored from its copy, an index page from the commit records, and a shard is computed again
    where one of its objects or its commit record is damaged. On the machine that wrote the store the bytes are the
    same as before. On another one the last bits may differ, and commit record, index and manifest then say so.

    Args:
        uri: the store.
        teacher: where its teacher is, if it is not an embedded one.
        device: torch device of the teacher.
        progress: `progress(samples done, samples to compute)`.

    Raises:
        SpecMismatchError: the teacher is not the one that the store was computed with.
        StoreError: the manifest and all of its copies are damaged, or the store cannot be written.
    """
    restored = _restored(uri)
    problems = verify(uri)
    shards = tuple(sorted({problem.shard for problem in problems if problem.shard is not None}))
    manifest = read_manifest(uri)
    keys = {problem.key for problem in problems if problem.shard is None}
    if IDENTITY in keys:
        # Before the shards: their writer goes by it.
        write_identity(uri, manifest.spec)
    if shards:
        _compute(manifest.spec, uri, shards, teacher, device, progress)
    mend(uri, manifest, keys, shards)
    return RepairResult(uri, shards, bool(keys) or restored)


def _restored(uri: str) -> bool:
    try:
        read_manifest(uri)
    except ManifestError:
        restore_manifest(uri)
        return True
    return False


def _compute(
    identity: TrajectorySpec,
    uri: str,
    shards: Sequence[int],
    teacher: str | None,
    device: str,
    progress: Progress | None,
) -> None:
    root = uri.rstrip("/").rsplit("/", 2)[0]
    if store_uri(root, identity) != uri.rstrip("/"):
        raise SpecMismatchError(
            f"a store is repaired where it was written, <root>/{identity.teacher}/<digest>, got {uri}; move it back"
        )
    loaded = _load(identity.teacher, teacher, device)
    if loaded.fingerprint != identity.fingerprint:
        raise SpecMismatchError(
            f"a store is repaired with the teacher that it was computed with, fingerprint {identity.fingerprint}, got "
            f"{loaded.fingerprint} from {teacher or identity.teacher!r}; name that teacher with --teacher"
        )
    writer, total = open_writer(root, identity), len(shards) * identity.shard_samples
    # One thread, as the shards were computed: sums depend on it.
    with torch_threads(1):
        for position, index in enumerate(shards):
            before = read_good_commit(uri, index)
            moved = progress and shifted(progress, position * identity.shard_samples, total)
            keep_commit(uri, before, write_shard(loaded, writer, identity, index, moved))


def _load(name: str, source: str | None, device: str) -> Teacher:
    if source is None and name not in EMBEDDED:
        raise SpecMismatchError(
            f"a store is repaired with its teacher, and {name!r} is none of the embedded {sorted(EMBEDDED)}; "
            "say where it is with --teacher FOLDER_OR_HUB_ID"
        )
    return load_teacher(source or name, device)
