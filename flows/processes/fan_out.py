"""Chooses where a flow runs its shard tasks: in threads of its process, or on a Ray cluster.

Ray is the extra `advkd[ray]`. This module only chooses the task runner; Ray schedules. A task asks for a core, and for
a share of a GPU if the teacher computes on one. Ray places tasks, holds back those that do not fit, and repeats those
whose worker dies.
"""

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Annotated, Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import AfterValidator, WithJsonSchema

from flows.processes.process_tree import descendants, end
from storage.objects import PATIENCE

SHARDS_PER_GPU = "ADVKD_SHARDS_PER_GPU"
"""Environment variable: how many shards a GPU computes at once, on Ray or in the queue `precompute`; default 1."""

_PATTERN = r"^(ray|auto|ray://.+)$"
_OBJECT_STORE_BYTES = 100 * 2**20
# Ray prints nothing, sends no usage statistics, and hides GPUs from tasks that do not ask for one.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_DEDUP_LOGS": "0",
}


def check_fan_out(fan_out: str) -> str:
    """Checks that `fan_out` names a Ray cluster and that Ray is installed; returns `fan_out`.

    Raises:
        ValueError: `fan_out` has another form, or the extra is not installed.
    """
    if re.fullmatch(_PATTERN, fan_out) is None:
        raise ValueError(
            f"fan_out must be ray (a cluster on this machine), auto or ray://HOST:10001 (an existing one), got "
            f"{fan_out!r}; choose one, or leave it out for threads"
        )
    missing = [name for name in ("ray", "prefect_ray") if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"fan_out={fan_out!r} needs Ray, got no {' and no '.join(missing)} here; "
            "run `pip install 'advkd[ray]'`, or leave fan_out out for threads"
        )
    return fan_out


FanOut = Annotated[
    str, AfterValidator(check_fan_out), WithJsonSchema({"type": "string", "pattern": _PATTERN, "title": "Fan Out"})
]
"""A flow's parameter that says where shard tasks run; the server refuses other words before it creates a run."""


def shards_per_gpu() -> int:
    """Reads `SHARDS_PER_GPU` from the environment.

    Raises:
        ValueError: it is no positive number.
    """
    said = os.environ.get(SHARDS_PER_GPU, "1")
    if not said.isdecimal() or int(said) < 1:
        raise ValueError(f"{SHARDS_PER_GPU} must be a positive number, got {said!r}; set it to 1 or more")
    return int(said)


@contextmanager
def shard_runner(fan_out: str | None, device: str, threads: int) -> Iterator[TaskRunner[Any]]:
    """Starts and yields the task runner; at the end stops it, together with the cluster that it started.

    Args:
        fan_out: None for threads; otherwise see `check_fan_out`.
        device: torch device of the tasks.
        threads: number of threads without Ray.

    Raises:
        ConnectionError: the cluster does not exist or does not answer.
    """
    if fan_out is None:
        with ThreadPoolTaskRunner(max_workers=threads) as runner:
            yield runner
        return
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options

    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with ExitStack() as stack:
        with _own_signals(), _whole_start(fan_out):
            runner = stack.enter_context(RayTaskRunner(init_kwargs=ray_options(fan_out)))
        if device.startswith("cuda"):
            stack.enter_context(remote_options(num_gpus=1 / shards_per_gpu()))
        yield runner


def ray_options(fan_out: str) -> dict[str, Any]:
    """Returns the arguments of `ray.init`."""
    # The runner's own `address` takes "auto" for a cluster of its own, and so would Ray without one.
    options: dict[str, Any] = {"address": "local" if fan_out == "ray" else fan_out, "log_to_driver": False}
    if fan_out == "ray":
        # Keep the object store small: tasks take a spec and return a number.
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES, "logging_level": "ERROR"}
    elif PATIENCE in os.environ:
        # Workers of our own cluster have this process's environment; others are told how long a run waits for S3.
        options["runtime_env"] = {"env_vars": {PATIENCE: os.environ[PATIENCE]}}
    return options


@contextmanager
def _whole_start(fan_out: str) -> Iterator[None]:
    """Cleans up after a failed start: Ray gives a node 30 s, and leaves processes behind if it takes longer."""
    before = descendants(os.getpid())
    try:
        yield
    except Exception as error:
        if fan_out == "ray":
            end(descendants(os.getpid()) - before, 1.0)
        raise ConnectionError(
            f"fan_out={fan_out!r} needs a Ray cluster that answers, got {type(error).__name__} "
            f"({' '.join(str(error).split())[:200]}); start it, correct its address, or leave this machine more cores"
        ) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restores SIGTERM's handler, which Ray replaces at its start: otherwise a cancelled run would count as crashed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
