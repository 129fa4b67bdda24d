"""The decorator of all flows of this project."""

from collections.abc import Callable
from typing import Any

from prefect import Flow, flow

from flows.processes.logs import identify_lines
from flows.processes.supervision import crash_if_cut_off, supervise


def stage(name: str, *, timeout_seconds: float | None = None) -> Callable[[Callable[..., Any]], Flow[..., Any]]:
    """Makes a function a Prefect flow whose lines name their run and whose process is supervised.

    Args:
        name: name of the flow.
        timeout_seconds: time after which a run fails; None: never.
    """
    return flow(
        name=name,
        persist_result=False,
        timeout_seconds=timeout_seconds,
        on_running=[identify_lines, supervise],
        on_failure=[crash_if_cut_off],
    )
