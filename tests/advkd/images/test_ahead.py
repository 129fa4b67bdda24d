import threading
import time
from collections.abc import Callable, Iterator

import pytest

from advkd.images.ahead import ahead


def test_results_are_in_order() -> None:
    def late(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    assert list(ahead((lambda n=n: late(n) for n in range(40)), threads=4)) == list(range(40))
    assert list(ahead(iter(()))) == []


def test_no_more_than_a_few_calls_are_ahead() -> None:
    begun: list[int] = []

    def calls() -> Iterator[Callable[[], int]]:
        for number in range(100):
            begun.append(number)
            yield lambda number=number: number

    for taken, _ in enumerate(ahead(calls(), threads=3), start=1):
        assert len(begun) <= taken + 2 * 3


def test_an_error_is_raised_in_its_place_and_ends_the_threads() -> None:
    def broken() -> int:
        raise KeyError("broken")

    results: list[int] = []
    before = threading.active_count()
    with pytest.raises(KeyError, match="broken"):
        results.extend(ahead(iter([lambda: 0, lambda: 1, broken, *[lambda: 3] * 50])))
    assert results == [0, 1]
    assert threading.active_count() == before
