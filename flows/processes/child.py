"""Runs one of our modules in a child process, so that a time-out or a cancelled run really stops it.

The child has its own process group, reports progress and log records as JSON lines on stderr, and never outlives the
call.
"""

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from advkd.runtime import FORM_VARIABLE, Report, die_with_parent, parse_line, parse_log_line
from flows.processes.ranks import launched
from flows.processes.spare import Spare, take_spare

logger = logging.getLogger(__name__)

Log = Callable[[int, str], None]
"""Called with the level and the message of a log record."""

Child = subprocess.Popen[str] | Spare
"""A new interpreter, or the one that was set aside."""

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0
_KEPT_LINES = 5


class ChildError(RuntimeError):
    """The child failed or was killed; the message is the end of its stderr."""


class ChildKilledError(ChildError):
    """A signal ended the child, because memory ran out or a user killed it; trying again may help."""


def run_module(
    module: str,
    arguments: Sequence[str],
    report: Report,
    log: Log = logger.log,
    processes: int = 1,
    by_spare: bool = False,
) -> str:
    """Runs `python -m module arguments...` to its end and returns the last line of its stdout.

    If `processes` is more than 1, the child is torch's launcher (`flows.processes.ranks`), which starts them. The
    child's progress goes to `report`, its log records to `log`. If this call is interrupted (time-out, cancellation,
    Ctrl-C), it first ends the child and all of the child's children.

    Args:
        module: the module.
        arguments: its arguments.
        report: called with its progress.
        log: called with its log records.
        processes: how many processes run it.
        by_spare: whether the spare child of this process may run it, if there is one (`flows.processes.spare`).

    Raises:
        ChildError: the child's exit code is not 0. `ChildKilledError`: a signal ended the child.
    """
    with _started(module, arguments, processes, by_spare) as process:
        try:
            printed, complaints = _follow(process, report, log)
        finally:
            _end(process)
    if process.returncode:
        kind = ChildKilledError if process.returncode < 0 else ChildError
        raise kind(_explain(module, arguments, process.returncode, complaints))
    return printed


def _started(module: str, arguments: Sequence[str], processes: int, by_spare: bool) -> Child:
    # Warnings would hide the error.
    environment = {"PYTHONWARNINGS": "ignore", **os.environ, FORM_VARIABLE: "json"}
    spare = take_spare() if by_spare and processes == 1 else None
    if spare is not None:
        spare.run(module, arguments, environment)
        return spare
    return subprocess.Popen(
        [sys.executable, "-m", *launched(module, processes), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=die_with_parent(),
        env=environment,
    )


def _follow(process: Child, report: Report, log: Log) -> tuple[str, Sequence[str]]:
    assert process.stdout is not None
    assert process.stderr is not None
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    printed: deque[str] = deque(maxlen=1)
    complaints: deque[str] = deque(maxlen=_KEPT_LINES)
    readers = [
        threading.Thread(target=_drain, args=(process.stdout, printed.append), daemon=True),
        threading.Thread(target=_drain, args=(process.stderr, lines.put, lambda: lines.put(None)), daemon=True),
    ]
    for reader in readers:
        reader.start()
    while True:
        try:
            # Wait briefly, because Prefect's time-outs reach a thread only between two byte codes.
            line = lines.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            break
        if update := parse_line(line):
            report(update.label, update.done, update.total, update.note)
        elif said := parse_log_line(line):
            log(said.level, f"{said.logger}: {said.message}")
        else:
            complaints.append(line)
    readers[0].join()
    process.wait()
    return (printed[0] if printed else ""), complaints


def _drain(stream: Iterable[str], keep: Callable[[str], None], close: Callable[[], None] | None = None) -> None:
    for line in stream:
        if line.strip():
            keep(line.rstrip())
    if close is not None:
        close()


def _end(process: Child) -> None:
    """Ends the child's process group by SIGTERM, then SIGKILL: its children may have outlived it."""
    with suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _explain(module: str, arguments: Sequence[str], code: int, complaints: Sequence[str]) -> str:
    command = " ".join([module, *arguments[:1]])
    if code < 0:
        name = signal.Signals(-code).name
        return f"{command} must run to its end, but was killed by {name}; run the same flow again to go on from there"
    return "\n".join(complaints) or f"{command} failed with exit code {code} and said nothing"
