"""Real processes for tests, started from a server that has imported the store already."""

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PATIENCE_SECONDS = 60


def run_in_processes(calls: Sequence[tuple[Callable[..., object], tuple[Any, ...]]]) -> list[int | None]:
    """Calls each function in a process of its own, all at once; returns their exit codes."""
    context = multiprocessing.get_context("forkserver")
    # The server keeps the environment that it was started in, and with it the address of some other test's S3.
    context.set_forkserver_preload(["storage.testing.oracles"])
    environment = dict(os.environ)
    processes = [context.Process(target=_call, args=(environment, function, given)) for function, given in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def _call(environment: Mapping[str, str], function: Callable[..., object], given: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    function(*given)
