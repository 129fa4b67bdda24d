"""Stores with garbage in them, and cleaning them, for tests of what goes and what stays."""

import time

from storage import TrajectorySpec, list_prefix, open_writer
from storage.care.garbage import StoreGarbage, find_garbage, remove_garbage
from storage.care.keys import StoreKeys
from storage.testing.trajectories import shard_states


def clean(uri: str) -> list[StoreGarbage]:
    """Remove all garbage whatever its age; what was found."""
    found = find_garbage(uri, 0, now=time.time() + 5)
    for one in found:
        assert remove_garbage(one) == list(one.old)
    return found


def write(root: str, spec: TrajectorySpec, *shards: int) -> str:
    """Commit some shards; the store's URI."""
    writer = open_writer(root, spec)
    for shard in shards:
        writer.write_shard(shard, shard_states(spec, shard))
    return writer.uri


def data_of(uri: str, spec: TrajectorySpec, shard: int) -> set[str]:
    """Keys of a shard's data objects."""
    return {key for key in list_prefix(uri) if StoreKeys(spec).shard(key) == shard}
