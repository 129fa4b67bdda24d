"""Several processes fill one store: each shard is computed once."""

from pathlib import Path

from advkd.trajectories import PrecomputeSpec, share_shard
from advkd.trajectories import filling as library
from storage import list_prefix, store_uri
from tests.advkd.conftest import mixture_spec
from tests.advkd.trajectories.forked import Forker, Job


def share_all(spec: PrecomputeSpec) -> None:
    """Prints how many shards this process computed."""
    print(sum(share_shard(spec, index) is not None for index in range(8)))


def test_two_processes_compute_each_shard_once(fork: Forker, tmp_path: Path) -> None:
    spec = mixture_spec(tmp_path, samples=1024, shard_samples=128)
    uri = store_uri(spec.store, library.what_is_missing(spec)[0])
    ended = fork.group(*[Job(share_all, (spec,))] * 2)
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    computed = [int(one.out) for one in ended]
    # A process that meets a shard that is taken goes on to the next: nothing is left, and nothing was done twice.
    assert sum(computed) == 8
    assert library.what_is_missing(spec)[1] == []
    assert not [key for key in list_prefix(uri) if key.startswith("claims/")]
