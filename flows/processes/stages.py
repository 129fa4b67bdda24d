"""The decorator of all flows of this project."""

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import PurePath
from typing import Any

from prefect import Flow
from prefect.runtime import flow_run

from flows.processes.heartbeats import end_without_waiting
from flows.processes.logs import defaults, identify_lines, run_digest
from flows.processes.supervision import crash_if_cut_off, supervise
from storage.objects import PATIENCE

S3_SECONDS = "60"
"""How long a run waits for an S3 server that does not answer, unless `ADVKD_S3_PATIENCE` says otherwise."""
Words = Callable[[Mapping[str, Any]], str]
_DIGITS = 8

end_without_waiting()


class StageFlow(Flow[..., Any]):
    """A flow that travels to another process as the name of its module.

    Ray's tasks get the context of their flow. Pickled by value, it took all that the function uses along, and failed
    where that holds a lock.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        module, name = sys.modules.get(self.fn.__module__), self.fn.__name__
        # `python -m flows.precompute` runs the module as `__main__`, which is another one in another process.
        spec = getattr(module, "__spec__", None)
        if spec is None or getattr(module, name, None) is not self:
            return super().__reduce_ex__(protocol)
        return _flow_of, (spec.name, name)


def _flow_of(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def stage(
    name: str, *, timeout_seconds: float | None = None, named: Words | None = None
) -> Callable[[Callable[..., Any]], Flow[..., Any]]:
    """Makes a function a Prefect flow whose lines name their run and whose process is supervised.

    Args:
        name: name of the flow.
        timeout_seconds: time after which a run fails; None: never.
        named: what a run is about, by its parameters; its name is that and their digest: `digits · quick · 1a2b3c4d`.
    """
    hooks: dict[str, Any] = {"on_running": [wait_for_s3, identify_lines, supervise], "on_failure": [crash_if_cut_off]}

    def decorate(function: Callable[..., Any]) -> Flow[..., Any]:
        made = StageFlow(
            function,
            name=name,
            flow_run_name=lambda: _run_name(made, named),
            persist_result=False,
            timeout_seconds=timeout_seconds,
            **hooks,
        )
        return made

    return decorate


def wait_for_s3(*_: Any) -> None:
    """Lets this process and those that it starts wait for an S3 server that is restarted; a hook for `on_running`."""
    os.environ.setdefault(PATIENCE, S3_SECONDS)


def last_part(place: str) -> str:
    """Returns the last part of a path, URI or hub id, without what follows it: no name shows a place or a password."""
    return PurePath(place.partition("?")[0].partition("#")[0]).name or place.partition(":")[0]


def _run_name(of: "Flow[..., Any]", named: Words | None) -> str:
    given = dict(flow_run.get_parameters())
    try:
        digest = run_digest(of, given)[:_DIGITS]
        words = of.name if named is None else named(of.validate_parameters({**defaults(of), **given}))
    except Exception:
        # Bad parameters: the run fails with its own error.
        return of.name
    return f"{words} · {digest}"
