"""Repairing a store: the shards that are not what was committed are computed again, those alone."""

from dataclasses import dataclass

from advkd.cpu import torch_threads
from advkd.teachers import EMBEDDED, Teacher, load_teacher
from advkd.trajectories import Progress, shifted, write_shard
from storage import SpecMismatchError, open_store, seal, store_uri, verify


@dataclass(frozen=True)
class RepairResult:
    """Which shards were computed again; the store's metadata is always written anew where something was wrong."""

    uri: str
    shards: tuple[int, ...]
    metadata: bool


def repair(uri: str, teacher: str | None = None, device: str = "cpu", progress: Progress | None = None) -> RepairResult:
    """Verifies a sealed store and recomputes its damaged shards; good objects are not touched.

    On the machine that wrote the store the bytes are the same as before. On another one the last bits may differ, and
    the manifest then says so.

    Args:
        uri: the store.
        teacher: where its teacher is, if it is not an embedded one.
        device: torch device of the teacher.
        progress: `progress(samples done, samples to compute)`.

    Raises:
        SpecMismatchError: the teacher is not the one that the store was computed with.
        StoreError: the manifest itself cannot be read, or the store cannot be written.
    """
    manifest = open_store(uri).manifest
    problems = verify(uri)
    shards = tuple(sorted({problem.shard for problem in problems if problem.shard is not None}))
    metadata = any(problem.shard is None for problem in problems)
    if not problems:
        return RepairResult(uri, (), False)
    identity, root = manifest.spec, _root(uri)
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
    total = len(shards) * identity.shard_samples
    # One thread, as the shards were computed: sums depend on it.
    with torch_threads(1):
        for position, index in enumerate(shards):
            before = position * identity.shard_samples
            write_shard(loaded, identity, root, index, progress and shifted(progress, before, total))
    seal(root, identity, manifest.num_samples)
    return RepairResult(uri, shards, metadata)


def _load(name: str, source: str | None, device: str) -> Teacher:
    if source is None and name not in EMBEDDED:
        raise SpecMismatchError(
            f"a store is repaired with its teacher, and {name!r} is none of the embedded {sorted(EMBEDDED)}; "
            "say where it is with --teacher FOLDER_OR_HUB_ID"
        )
    return load_teacher(source or name, device)


def _root(uri: str) -> str:
    return uri.rstrip("/").rsplit("/", 2)[0]
