"""Works ahead of a loop in threads: a few calls at a time, with results in their order."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

THREADS = 8


def ahead(calls: Iterator[Callable[[], T]], threads: int = THREADS) -> Iterator[T]:
    """Yields the result of each call, in order; at most `2 * threads` of them are begun and not yet taken.

    The first error of a call is raised in its place. Calls are taken from the iterator by this thread alone.
    """
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="images") as pool:
        try:
            for call in calls:
                pending.append(pool.submit(call))
                if len(pending) == 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
