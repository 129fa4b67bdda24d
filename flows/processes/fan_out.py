"""Where the shard tasks of a flow run: threads of its process, or a Ray cluster. Only which task runner, no scheduling.

Ray is the extra `advkd[ray]`. A task asks for a core, and for its part of a GPU where the teacher computes on one:
Ray places it, runs it again if its worker dies, and holds back what does not fit.
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

SHARDS_PER_GPU = "ADVKD_SHARDS_PER_GPU"
"""How many shards a GPU of a Ray cluster, or its queue `precompute`, computes at once; 1 unless set."""

_PATTERN = r"^(ray|auto|ray://.+)$"
_OBJECT_STORE_BYTES = 100 * 2**20
# Nothing of what Ray would print or send home. An idle GPU stays hidden from tasks that do not ask for one.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_DEDUP_LOGS": "0",
}


def check_fan_out(fan_out: str) -> str:
    """`fan_out` itself, if it names a place and this machine can reach it.

    Raises:
        ValueError: it does not, or the extra is not installed.
    """
    if re.fullmatch(_PATTERN, fan_out) is None:
        raise ValueError(
            f"fan_out must be ray (a cluster on this machine), auto or ray://HOST:10001 (one that is there), got "
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
"""A place for shard tasks, as a flow's parameter: another word is refused by the server, before there is a run."""


def shards_per_gpu() -> int:
    """What the environment says.

    Raises:
        ValueError: no positive number.
    """
    said = os.environ.get(SHARDS_PER_GPU, "1")
    if not said.isdecimal() or int(said) < 1:
        raise ValueError(f"{SHARDS_PER_GPU} must be a positive number, got {said!r}; set it to 1 or more")
    return int(said)


@contextmanager
def shard_runner(fan_out: str | None, device: str, threads: int) -> Iterator[TaskRunner[Any]]:
    """The task runner, started; at the end it is stopped, and a cluster of its own with it.

    Args:
        fan_out: None: threads; else see `check_fan_out`.
        device: torch device of the tasks.
        threads: how many without Ray.

    Raises:
        ConnectionError: there is no such cluster, or it does not answer.
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
    """What `ray.init` is given for it."""
    # The runner's own `address` takes "auto" for a cluster of its own, and so would Ray without one.
    options: dict[str, Any] = {"address": "local" if fan_out == "ray" else fan_out, "log_to_driver": False}
    if fan_out == "ray":
        # Nothing passes through the object store: tasks take a spec and return a number.
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES, "logging_level": "ERROR"}
    return options


@contextmanager
def _whole_start(fan_out: str) -> Iterator[None]:
    """Ray gives a node 30 s to start, and leaves what it has started of one that took longer."""
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
    """Ray takes SIGTERM for itself as it starts; Prefect must hear it, or a cancelled run would count as crashed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
