"""A store in S3 behind a network that fails: one request in ten, and nothing is lost or wrong; all, and it ends soon.

The faults are those of `tests.faulty_proxy`, between the real client and a real server: answers of 500 and 503, resets
while a request or its answer is under way, answers that come late or are cut short.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from advkd.training.loop import train
from advkd.trajectories import PrecomputeSpec, precompute
from storage import (
    StoreUnreachableError,
    TrajectoryLoader,
    join,
    list_prefix,
    open_store,
    read_bytes,
    verify,
    write_bytes,
)
from storage.objects.s3 import CONNECT_TIMEOUT_SECONDS, MAX_ATTEMPTS, READ_TIMEOUT_SECONDS
from tests.advkd.conftest import mixture_spec, tiny_train
from tests.faulty_proxy import FAULTS, FaultyProxy, faulty_proxy
from tests.s3_server import S3Server

SHARDS, SHARD_SAMPLES = 48, 8
SEED = 9
"""Of the proxy: it spoils 5 of the first 34 requests, in as many ways, and 24 of the first 200."""
SAMPLES = SHARDS * SHARD_SAMPLES - 3
LAYOUTS = ("zarr", pytest.param("webdataset", marks=pytest.mark.slow))
RUN_FACTS = {"created", "sealed", "elapsed_seconds", "author", "sha256"}
ERRORS = ("500", "503")
INSTANT_FAULTS = tuple(fault for fault in FAULTS if fault != "delay")
STATED_SECONDS = 2 * (CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS)
"""What docs/cache.md says, about 45: two attempts that are not answered. Each of these faults is noticed at once."""


@pytest.fixture(scope="module", params=LAYOUTS)
def local(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PrecomputeSpec, str]:
    """A store on the local disk: what the one in S3 must hold."""
    spec = spec_of(tmp_path_factory.mktemp("stores"), request.param)
    return spec, precompute(spec).uri


@pytest.fixture
def remote(local: tuple[PrecomputeSpec, str], s3_root: str) -> str:
    """The same store in S3, which was put there while nothing failed."""
    spec, uri = local
    copied = join(s3_root, uri.removeprefix(spec.store + "/"))
    for key in list_prefix(uri):
        write_bytes(join(copied, key), read_bytes(join(uri, key)))
    return copied


@contextmanager
def failing(
    server: S3Server, share: float, delay_seconds: float = 0.2, faults: Sequence[str] = FAULTS
) -> Iterator[FaultyProxy]:
    """Within the block, everything that this process asks of S3 passes through a proxy."""
    with (
        faulty_proxy(server.endpoint, share, seed=SEED, delay_seconds=delay_seconds, faults=faults) as proxy,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def spec_of(root: object, layout: str, **changes: object) -> PrecomputeSpec:
    sizes = {"samples": SAMPLES, "shard_samples": SHARD_SAMPLES, "block_samples": 4, "dtype": "float16"}
    return mixture_spec(Path("unused"), **{"format": layout, "store": str(root), **sizes, **changes})


def meaning(uri: str) -> dict[str, object]:
    """Key -> bytes, or of records all that is no fact of a run."""
    found: dict[str, object] = {}
    for key in list_prefix(uri):
        data = read_bytes(join(uri, key))
        record = key == "manifest.json" or key.startswith(("commits/", "seals/"))
        found[key] = {k: v for k, v in json.loads(data).items() if k not in RUN_FACTS} if record else data
    return found


def assert_spoiled(proxy: FaultyProxy, requests: int) -> None:
    """So many requests came through, about a tenth of them was spoiled, and in every way."""
    assert proxy.requests > requests
    assert 0.07 < sum(proxy.hits.values()) / proxy.requests < 0.16
    assert len(proxy.hits) >= len(FAULTS) - (proxy.requests < 60)


def test_precompute_loses_nothing(local: tuple[PrecomputeSpec, str], s3_root: str, s3_server: S3Server) -> None:
    spec, expected = local
    with failing(s3_server, 0.1, delay_seconds=2.0 if spec.format == "zarr" else 0.2) as proxy:
        result = precompute(spec_of(s3_root, spec.format), workers=2)
    assert_spoiled(proxy, 200)
    assert (result.computed, result.num_samples) == (SHARDS, SAMPLES)
    assert result.uri == join(s3_root, expected.removeprefix(spec.store + "/"))
    assert meaning(result.uri) == meaning(expected)
    assert verify(result.uri) == []


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_an_epoch_is_whole_and_right(
    local: tuple[PrecomputeSpec, str], remote: str, s3_server: S3Server, tmp_path: Path, cache: str
) -> None:
    states = open_store(local[1]).read_samples(range(SAMPLES))
    with failing(s3_server, 0.1) as proxy:
        loader = TrajectoryLoader(
            remote, batch_size=16, seed=3, window=4, drop_last=False, cache=cache, cache_folder=str(tmp_path)
        )
        for number in range(2):
            seen: list[int] = []
            for batch in loader.epoch(number):
                seen += batch.indices.tolist()
                for t, values in batch.states.items():
                    np.testing.assert_array_equal(values, states[t][batch.indices])
            assert sorted(seen) == list(range(SAMPLES))
    objects = SHARDS * (len(states) if local[0].format == "zarr" else 1)
    assert_spoiled(proxy, 2 * objects if cache == "none" else objects)
    # What was damaged on its way is not kept, and what is kept is not asked for again.
    assert cache == "none" or proxy.requests < 1.5 * objects


def test_single_samples_are_right(local: tuple[PrecomputeSpec, str], remote: str, s3_server: S3Server) -> None:
    expected = open_store(local[1])
    with failing(s3_server, 0.1) as proxy:
        reader = open_store(remote)
        for sample in range(0, SAMPLES, SHARD_SAMPLES):
            for t, values in reader.read_samples([sample]).items():
                np.testing.assert_array_equal(values, expected.read_samples([sample])[t])
    assert_spoiled(proxy, 2 * SHARDS)


def test_training_for_an_epoch_gives_the_same_student(
    local: tuple[PrecomputeSpec, str], remote: str, s3_server: S3Server, tmp_path: Path
) -> None:
    spec = tiny_train(samples=SAMPLES // 8 * 8, checkpoint_every=128, report_every=8)
    undisturbed = list(train(spec, local[1], tmp_path / "local"))
    with failing(s3_server, 0.1) as proxy:
        steps = list(train(spec, remote, tmp_path / "remote"))
    assert_spoiled(proxy, SHARDS)
    assert steps[-1].samples == spec.samples
    assert [step.distillation for step in steps] == [step.distillation for step in undisturbed]
    one, other = (sha256(tmp_path / name / "student") for name in ("local", "remote"))
    assert one == other


def sha256(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("local", ["zarr"], indirect=True)
class TestNothingGetsThrough:
    """Every request is spoiled, from the first one on or all at once after a good start."""

    @contextmanager
    def ends_soon(self, proxy: FaultyProxy, bucket: str, threads: int) -> Iterator[None]:
        """With an error that says where and what to do; so many threads give up once each, and none goes on."""
        # aiohttp asks once more by itself where a connection broke.
        attempts = threads * MAX_ATTEMPTS * (1 if proxy._faults == ERRORS else 2)
        before, began = set(threading.enumerate()), time.monotonic()
        with pytest.raises(StoreUnreachableError) as caught:
            yield
        assert time.monotonic() - began < STATED_SECONDS
        for part in (proxy.endpoint, bucket, "must answer", "check AWS_ENDPOINT_URL", "run the same command again"):
            assert part in str(caught.value)
        ours = [thread for thread in set(threading.enumerate()) - before if thread not in proxy._threads]
        assert [thread.name for thread in ours if thread.name != "fsspecIO"] == []
        assert MAX_ATTEMPTS <= sum(proxy.hits.values()) <= attempts

    @pytest.mark.parametrize("after", [0, 5])
    def test_precompute_ends(
        self, local: tuple[PrecomputeSpec, str], s3_root: str, s3_server: S3Server, after: int
    ) -> None:
        def progress(done: int, _: int) -> None:
            if done >= after * SHARD_SAMPLES:
                proxy.share = 1.0

        share, faults = (0.0, ERRORS) if after else (1.0, INSTANT_FAULTS)
        with failing(s3_server, share, faults=faults) as proxy:
            spec = spec_of(s3_root, local[0].format)
            with self.ends_soon(proxy, s3_root.split("/")[2], threads=4 if after else 1):
                precompute(spec, progress, workers=2)
            requests = proxy.requests
            time.sleep(0.5)
            assert proxy.requests == requests
        # What was committed is good, and the same command goes on from there.
        result = precompute(replace(spec, samples=8 * SHARD_SAMPLES))
        assert result.computed <= 8 - max(0, after - 4)
        assert verify(result.uri) == []

    def test_training_ends_and_goes_on(self, remote: str, s3_server: S3Server, tmp_path: Path) -> None:
        spec = tiny_train(samples=160, checkpoint_every=32)
        with failing(s3_server, 0.0, faults=ERRORS) as proxy, self.ends_soon(proxy, remote.split("/")[2], 2):
            for step in train(spec, remote, tmp_path / "run"):
                if step.samples == 64:
                    proxy.share = 1.0
        resumed = [step.samples for step in train(spec, remote, tmp_path / "run")]
        assert resumed[0] > 64
        assert resumed[-1] == spec.samples
