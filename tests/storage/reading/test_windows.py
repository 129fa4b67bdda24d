"""Windows: read ahead by background threads, in bounded memory, with errors at their place and no thread left behind.

Nothing here waits for time to pass: sources hold reads back and let them go, and count.
"""

import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import (
    ObjectEntry,
    ShardCorruptError,
    StoreError,
    StoreUnreachableError,
    TrajectorySpec,
    join,
    open_store,
    store_uri,
    write_bytes,
)
from storage.reading import windows as windows_module
from storage.reading.assignment import RowRange
from storage.reading.sources import DirectSource
from storage.reading.windows import Window, read_windows
from storage.testing.oracles import KINDS, reading_threads, shown_states, spec_of_kind
from storage.testing.trajectories import fill, make_spec, states_of

pytestmark = pytest.mark.timeout(300)
NUM_SAMPLES = 93
SHARDS = 12
PATIENCE_SECONDS = 60
ONE_EACH = [[RowRange(shard, 0, 8)] for shard in range(SHARDS - 1)]
"""Every whole shard, a window each."""

Allocate = Callable[[], Sequence[memoryview]]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of 12 shards of one object for each timestep, the last shard partial."""
    root = str(tmp_path_factory.mktemp("stores"))
    fill(root, make_spec(), NUM_SAMPLES)
    return store_uri(root, make_spec())


class Watched:
    """The store's objects; what happens around a read is up to `during`."""

    def __init__(self, uri: str, during: Callable[[int], None]) -> None:
        self._direct, self._during, self._lock = DirectSource(uri), during, threading.Lock()
        self.asked: list[int] = []
        """Shards in the order in which their reading began."""
        self.threads: set[str] = set()

    def read_into(self, entry: ObjectEntry, allocate: Allocate) -> int:
        shard = int(entry.key.split("/c/")[1].split("/")[0])
        with self._lock:
            self.asked.append(shard)
            self.threads.add(threading.current_thread().name)
        self._during(shard)
        return self._direct.read_into(entry, allocate)


@pytest.fixture(params=KINDS, scope="module")
def of_kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, TrajectorySpec]:
    """A store of 29 samples in 4 shards, of each kind."""
    root, spec = str(tmp_path_factory.mktemp("stores")), spec_of_kind(request.param)
    fill(root, spec, 29)
    return store_uri(root, spec), spec


@pytest.mark.thorough
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_windows_hold_their_pieces_in_order(of_kind: tuple[str, TrajectorySpec], data: st.DataObject) -> None:
    """Whatever the pieces are, however they are read."""
    uri, spec = of_kind
    bounds = st.lists(st.integers(0, 5), min_size=2, max_size=2, unique=True).map(sorted) | st.just([0, 8])
    piece = st.builds(lambda shard, ends: RowRange(shard, ends[0], ends[1] if shard < 3 else min(ends[1], 5)),
                      st.integers(0, 3), bounds)  # fmt: skip
    windows = data.draw(st.lists(st.lists(piece, min_size=1, max_size=4), max_size=6))
    timesteps = data.draw(st.lists(st.sampled_from(spec.timesteps), min_size=1, unique=True))
    speed = {"threads": data.draw(st.integers(1, 3)), "prefetch": data.draw(st.integers(0, 3))}
    expected, count = shown_states(spec, 0, 32), 0
    for pieces, window in zip(windows, read_windows(open_store(uri), timesteps, windows, **speed), strict=True):
        numbers = [8 * piece.shard + row for piece in pieces for row in range(piece.start, piece.stop)]
        assert window.indices.tolist() == numbers
        for t in timesteps:
            decoded = spec.encoding(t).decode(window.stored[t][: len(numbers)])
            np.testing.assert_array_equal(decoded, expected[t][numbers])
        count += 1
    assert count == len(windows)
    assert reading_threads() == []


@pytest.mark.parametrize("prefetch", [0, 1, 2, 3])
def test_windows_are_read_in_the_background_while_one_is_used_and_none_beyond(uri: str, prefetch: int) -> None:
    arrived = [threading.Event() for _ in range(SHARDS)]
    source = Watched(uri, lambda shard: arrived[shard].set())
    windows = read_windows(open_store(uri, source), [500], iter(ONE_EACH), threads=2, prefetch=prefetch)
    assert source.asked == []
    for number, _ in enumerate(windows):
        # This window is in use, nobody has asked for the next one, and still it comes.
        last = min(number + prefetch, len(ONE_EACH) - 1)
        assert all(arrived[shard].wait(PATIENCE_SECONDS) for shard in range(last + 1))
        assert sorted(source.asked) == list(range(last + 1))
    assert all(name.startswith("advkd-read") for name in source.threads)


def test_as_many_shards_are_read_at_once_as_there_are_threads(uri: str) -> None:
    together, running, most = threading.Barrier(3), threading.Semaphore(3), []

    def during(shard: int) -> None:
        most.append(running.acquire(blocking=False))
        if shard < 9:
            together.wait(PATIENCE_SECONDS)
        running.release()

    reader = open_store(uri, Watched(uri, during))
    pieces = [RowRange(shard, 0, 8) for shard in range(SHARDS - 1)]
    assert len(list(read_windows(reader, [0], [pieces], threads=3, prefetch=1))) == 1
    # The barrier let nobody through before three were there; a fourth one found no place in the semaphore.
    assert most == [True] * (SHARDS - 1)


@settings(deadline=None, max_examples=12)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12), prefetch=st.integers(0, 2))
def test_no_more_than_the_windows_read_ahead_are_in_memory(large: str, sizes: list[int], prefetch: int) -> None:
    """Whatever the windows' sizes, growing ones included."""
    reader, shard_bytes = open_store(large), 32 * 4 * 32 * 32 * 2
    windows = [[RowRange(shard, 0, 32) for shard in range(size)] for size in sizes]
    reader.read_shard(0)
    bound = (prefetch + 1) * max(sizes) * shard_bytes
    tracemalloc.start()
    try:
        for _ in read_windows(reader, [0], windows, threads=2, prefetch=prefetch):
            pass
        assert tracemalloc.get_traced_memory()[1] < bound + shard_bytes // 2
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shards of 256 KiB a timestep."""
    root = str(tmp_path_factory.mktemp("stores"))
    spec = make_spec(sample_shape=(4, 32, 32), shard_samples=32, block_samples=32)
    fill(root, spec, 128)
    return store_uri(root, spec)


def test_an_error_comes_at_its_window_and_ends_the_threads(tmp_path: Path) -> None:
    spec = make_spec()
    fill(str(tmp_path), spec, 64)
    uri = store_uri(str(tmp_path), spec)
    write_bytes(join(uri, "t0500/c/4/0/0/0"), b"short")
    for prefetch in (0, 1, 3, 9):
        windows = read_windows(open_store(uri), [500, 0], iter(ONE_EACH[:8]), threads=2, prefetch=prefetch)
        for shard in range(4):
            assert next(windows).indices.tolist() == list(range(8 * shard, 8 * shard + 8))
        with pytest.raises(ShardCorruptError, match=r"shard 4 .*t0500/c/4.*repair"):
            next(windows)
        assert reading_threads() == []
        assert list(windows) == []


def test_closing_early_reads_nothing_more_and_ends_the_threads(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not begun is dropped; what has begun is waited for, since it writes into memory of this generator."""
    begun, go_on = threading.Event(), threading.Event()

    def during(shard: int) -> None:
        if shard >= 1:
            begun.set()
            assert go_on.wait(PATIENCE_SECONDS)

    original = ThreadPoolExecutor.shutdown

    def shutdown(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        original(pool, wait=False, cancel_futures=cancel_futures)
        go_on.set()
        original(pool, wait=wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown)
    source = Watched(uri, during)
    windows = read_windows(open_store(uri, source), [0], iter(ONE_EACH), threads=1, prefetch=5)
    next(windows)
    assert begun.wait(PATIENCE_SECONDS)
    windows.close()
    assert source.asked == [0, 1]
    assert reading_threads() == []


@pytest.mark.thorough
def test_a_generator_that_is_dropped_ends_its_threads(uri: str) -> None:
    windows = read_windows(open_store(uri), [0], iter(ONE_EACH), threads=3, prefetch=2)
    next(windows)
    assert reading_threads() != []
    del windows
    gc.collect()
    assert reading_threads() == []


def test_an_error_of_the_plan_ends_the_threads(uri: str) -> None:
    def plan() -> Iterator[Sequence[RowRange]]:
        yield ONE_EACH[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(read_windows(open_store(uri), [0], plan(), threads=2, prefetch=1))
    assert reading_threads() == []


def test_a_window_is_right_until_the_next_one_is_asked_for(uri: str) -> None:
    """However far the reading ahead has come meanwhile; memory is used again only then."""
    spec, arrived = make_spec(), [threading.Event() for _ in range(SHARDS)]
    source = Watched(uri, lambda shard: arrived[shard].set())
    held: list[Window] = []
    for number, window in enumerate(read_windows(open_store(uri, source), [0], iter(ONE_EACH), threads=2, prefetch=2)):
        assert arrived[min(number + 2, len(ONE_EACH) - 1)].wait(PATIENCE_SECONDS)
        expected = states_of(spec, 8 * number, 8 * number + 8)[0].astype(np.float16)
        np.testing.assert_array_equal(window.stored[0], expected)
        held.append(window)
    memory = [window.stored[0].__array_interface__["data"][0] for window in held]
    assert memory == [memory[number % 3] for number in range(len(held))]
    assert len(set(memory)) == 3


class Backwards:
    """A pool whose second thread is faster than its first: of two pieces the later one is read first."""

    def __init__(self, *_: object) -> None:
        self._waiting: list[tuple[Future[None], Callable[..., None], tuple[object, ...]]] = []

    def submit(self, function: Callable[..., None], *arguments: object) -> "Future[None]":
        self._waiting.append((Future(), function, arguments))
        future = self._waiting[-1][0]
        while len(self._waiting) > 1:
            for done, call, values in (self._waiting.pop(), self._waiting.pop()):
                try:
                    done.set_result(call(*values))
                except StoreError as error:
                    done.set_exception(error)
        return future

    def shutdown(self, **_: object) -> None:
        """There are no threads."""


def test_a_window_that_was_left_out_after_an_error_is_never_given(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading shard 1 fails before that of shard 0 has begun: what shard 0's window holds is nobody's states."""

    def during(shard: int) -> None:
        if shard == 1:
            raise StoreUnreachableError("the endpoint must answer; check it")

    monkeypatch.setattr(windows_module, "ThreadPoolExecutor", Backwards)
    watched = Watched(uri, during)
    with pytest.raises(StoreUnreachableError):
        next(read_windows(open_store(uri, watched), (999, 0), ONE_EACH, threads=2, prefetch=1))
    assert watched.asked == [1]
