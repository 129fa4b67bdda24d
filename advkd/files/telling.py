"""Says what is fetched and how much that is, before and while it is fetched."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from advkd.runtime import FORM_VARIABLE, LOG_VARIABLE, console, progress, speaks
from advkd.text import size_text

logger = logging.getLogger(__name__)


@contextmanager
def told(place: str, sizes: Mapping[str, int]) -> Iterator[Callable[[int], None]]:
    """Says what is going to be fetched, then shows progress; small JSON files are not worth a word.

    Args:
        place: URI or hub id.
        sizes: bytes of the files, by name.

    Yields:
        The function to call with each number of bytes that has arrived; thread-safe.
    """
    if all(name.endswith(".json") for name in sizes):
        yield lambda _: None
        return
    total, done, lock = sum(sizes.values()), 0, Lock()
    sentence = f"fetching {len(sizes)} file{'s' if len(sizes) > 1 else ''} ({size_text(total)}) of {place}"
    logger.info(sentence)
    if (
        console().is_terminal
        and speaks()
        and "json" not in (os.environ.get(FORM_VARIABLE), os.environ.get(LOG_VARIABLE))
    ):
        console().print(sentence, soft_wrap=True, markup=False)
    with progress() as report:

        def arrived(count: int) -> None:
            nonlocal done
            with lock:
                done += count
                report("fetching", min(done, total), total, size_text(total))

        arrived(0)
        yield arrived
