"""Writes log lines of flow runs as JSON, one object per line, to the place that ADVKD_LOG names.

`ADVKD_LOG=json` writes them to stderr instead of text; a path that ends with .jsonl appends them to that file, beside
the text on stderr. Prefect's UI and database are not affected. A parent logs the records of its child processes again
(`advkd.runtime.relay`), so that one handler sees all lines of a run. Each line has:

- `run_id`: id of the flow run that was started, the same for all of its stages;
- `digest`: sha256 over its flow and parameters, defaults included, so that runs of the same spec share it;
- `stage`: the flow that is running, such as precompute or train.
"""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from inspect import Parameter, signature
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext

from advkd.runtime import LOG_VARIABLE, masked

_OURS = ("advkd", "storage", "flows")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The run that a line belongs to."""

    run_id: str
    digest: str
    stage: str


_origins: dict[str, Origin] = {}
"""Origins by id of the flow run or subflow run, for all runs that this process has started."""


def identify_lines(flow: "Flow[..., Any]", run: FlowRun, state: State) -> None:
    """Registers a run, so that its lines are written with its ids; a hook for `on_running`.

    Raises:
        ValueError: see `log_place`; Prefect logs the error, and the run goes on.
    """
    where = log_place()
    if where is None:
        return
    context = FlowRunContext.get()
    parent = _origins.get(str(context.flow_run.id)) if context and context.flow_run else None
    _origins[str(run.id)] = Origin(
        run_id=parent.run_id if parent else str(run.id),
        digest=parent.digest if parent else run_digest(flow, run.parameters),
        stage=flow.name,
    )
    _install(where)


def log_place() -> str | None:
    """Returns the value of ADVKD_LOG, None if it is not set.

    Raises:
        ValueError: it is neither `json` nor a path that ends with .jsonl.
    """
    where = os.environ.get(LOG_VARIABLE)
    if where and where != "json" and not where.endswith(".jsonl"):
        raise ValueError(
            f"{LOG_VARIABLE} must be json or a path that ends with .jsonl, got {where!r}; set it to one of them"
        )
    return where or None


def run_digest(flow: "Flow[..., Any]", parameters: Mapping[str, Any]) -> str:
    """Returns the sha256 over a flow's name and parameters; defaults count the same whether given or left out."""
    facts = {"flow": flow.name, "parameters": flow.validate_parameters({**defaults(flow), **parameters})}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_plain).encode()).hexdigest()


def defaults(flow: "Flow[..., Any]") -> dict[str, Any]:
    """Returns the defaults of a flow's parameters, of those that have one."""
    parameters = signature(flow.fn).parameters.items()
    return {name: parameter.default for name, parameter in parameters if parameter.default is not Parameter.empty}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, run, and task if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line without its newline; masks secrets of the environment."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **asdict(_origin(record)),
            "logger": record.name,
            # The text as formatted by default, traceback included.
            "message": masked(super().format(record)),
        }
        task = getattr(record, "task_run_name", None)
        return json.dumps(line | ({"task": task} if task else {}), ensure_ascii=False)


def _origin(record: logging.LogRecord) -> Origin:
    origin = _origins.get(str(getattr(record, "flow_run_id", None)))
    context = FlowRunContext.get()
    if origin is None and context and context.flow_run:
        origin = _origins.get(str(context.flow_run.id))
    # Threads of the process, such as the one that renews claims, belong to no run: use the run started last.
    return origin or next(reversed(_origins.values()))


def _install(where: str) -> None:
    root = logging.getLogger()
    for name in _OURS:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.INFO)
    if any(isinstance(handler.formatter, JsonLines) for handler in root.handlers):
        return
    handler: logging.Handler
    if where == "json":
        handler = logging.StreamHandler(sys.stderr)
        root.handlers.clear()
    else:
        Path(where).parent.mkdir(parents=True, exist_ok=True)
        # This handler reopens the file after a rotation has moved it.
        handler = WatchedFileHandler(where, encoding="utf-8")
    handler.setFormatter(JsonLines())
    root.addHandler(handler)


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
