"""Log lines of flow runs as JSON, one object per line, wherever ADVKD_LOG says.

`ADVKD_LOG=json` has them on stderr instead of text; a path that ends with .jsonl has them appended to that file, beside
the text. The UI and the database of Prefect get what they always got. What a child process logs is
logged again by its parent (`advkd.runtime.relay`), so that one handler sees all of a run's lines:

- `run_id`: of the flow run that was started, the same for all of its stages;
- `digest`: sha256 over its flow and parameters, defaults included: runs of the same spec share it;
- `stage`: the flow at work, as precompute or train.
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
    """Whose a line is."""

    run_id: str
    digest: str
    stage: str


_origins: dict[str, Origin] = {}
"""By id of the flow run or subflow run, of all that this process has begun."""


def identify_lines(flow: "Flow[..., Any]", run: FlowRun, state: State) -> None:
    """From here on the lines of this run are known as its own, and written; a hook for `on_running`.

    Raises:
        ValueError: see `log_place`; Prefect tells of it in the run's log, and the run goes on.
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
    """What ADVKD_LOG says, None where it is not set.

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
    """sha256 over a flow's name and its parameters, whether defaults were given or left out."""
    defaults = {
        name: one.default for name, one in signature(flow.fn).parameters.items() if one.default is not Parameter.empty
    }
    facts = {"flow": flow.name, "parameters": flow.validate_parameters({**defaults, **parameters})}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_plain).encode()).hexdigest()


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, whose it is, and the task if it is of one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; secrets of the environment are masked."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **asdict(_origin(record)),
            "logger": record.name,
            # The text form, traceback included.
            "message": masked(super().format(record)),
        }
        task = getattr(record, "task_run_name", None)
        return json.dumps(line | ({"task": task} if task else {}), ensure_ascii=False)


def _origin(record: logging.LogRecord) -> Origin:
    found = _origins.get(str(getattr(record, "flow_run_id", None)))
    context = FlowRunContext.get()
    if found is None and context and context.flow_run:
        found = _origins.get(str(context.flow_run.id))
    # Threads that serve the process, as those that renew claims, know no run: theirs is the one begun last.
    return found or next(reversed(_origins.values()))


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
        # Opened again once a rotation has moved it away.
        handler = WatchedFileHandler(where, encoding="utf-8")
    handler.setFormatter(JsonLines())
    root.addHandler(handler)


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
