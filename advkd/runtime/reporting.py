"""Shows the progress of long work: bars on a terminal, occasional lines elsewhere, JSON lines for a parent process.

Work calls `report(label, done, total, note)`. Imports neither torch nor Prefect.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from advkd.runtime.torchrun import speaks

FORM_VARIABLE = "ADVKD_PROGRESS"
"""Environment variable that a parent process sets to "json" to show the progress of its child itself."""

LOG_VARIABLE = "ADVKD_LOG"
"""Environment variable; set it to "json" to get only JSON lines on stderr, and no bars, even on a terminal."""

_LINE_SECONDS = 10.0
_JSON_SECONDS = 0.3
_KEY = "advkd_progress"


class Report(Protocol):
    """Reports that `done` of `total` units of the work called `label` are done, with an optional note. Thread-safe."""

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Keeps `total` the same for a label; `done` may start above 0 if work is resumed."""


@dataclass(frozen=True)
class Update:
    """One report, parsed from a child's JSON line."""

    label: str
    done: int
    total: int
    note: str


@cache
def console() -> Console:
    """Returns the console on stderr, for everything but results. Bars and lines share it, so neither overwrites."""
    return Console(stderr=True, highlight=False)


@contextmanager
def progress(say: Callable[[str], None] | None = None) -> Iterator[Report]:
    """Yields a `Report` and shows what it receives; of several ranks, only rank 0 shows it.

    Args:
        say: prints lines if stderr is no terminal; None prints them to stderr.
    """
    if not speaks():
        yield _unheard
    elif os.environ.get(FORM_VARIABLE) == "json":
        yield _Lines(_print_json, _JSON_SECONDS)
    elif not console().is_terminal or os.environ.get(LOG_VARIABLE) == "json":
        yield _Lines(lambda update, clock: (say or _print_line)(_as_text(update, clock)), _LINE_SECONDS)
    else:
        with _bars() as bars:
            yield _Bars(bars)


def parse_line(line: str) -> Update | None:
    """Parses a line of a child's stderr; returns None for a line that holds no report."""
    if f'"{_KEY}"' not in line:
        return None
    try:
        return Update(*json.loads(line)[_KEY])
    except (ValueError, TypeError, KeyError):
        return None


class Tally:
    """Sums the progress of pieces that run at the same time, and can stop all of them."""

    def __init__(self, report: Report, label: str, total: int) -> None:
        """Reports the sum over all pieces, of `total`, under `label`."""
        self._report, self._label, self._total = report, label, total
        self._done: dict[int, int] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def __call__(self, piece: int, done: int, total: int) -> None:
        """Records that a piece has done `done` of its own `total`.

        Raises:
            InterruptedError: `stop` was called.
        """
        if self._stopped.is_set():
            raise InterruptedError(f"{self._label} were stopped; run the same command again to resume")
        with self._lock:
            self._done[piece] = done
            self._report(self._label, sum(self._done.values()), self._total)

    def stop(self) -> None:
        """Makes the next report of every piece raise."""
        self._stopped.set()


@dataclass
class _Clock:
    """Times of the first report of a label and of the last line shown, and how much was done at first."""

    first_done: int
    began: float
    shown: float

    def rate(self, done: int) -> float:
        """Returns units done per second since the first report; 0 while unknown."""
        elapsed = time.monotonic() - self.began
        return (done - self.first_done) / elapsed if elapsed > 0 else 0.0


class _Lines:
    def __init__(self, show: Callable[[Update, _Clock], None], every_seconds: float) -> None:
        self._show, self._every = show, every_seconds
        self._clocks: dict[str, _Clock] = {}
        self._lock = threading.Lock()

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        with self._lock:
            now = time.monotonic()
            clock = self._clocks.setdefault(label, _Clock(done, now, now))
            if now - clock.shown < self._every or done >= total:
                return
            clock.shown = now
        self._show(Update(label, done, total, note), clock)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        with self._lock:
            if label not in self._tasks:
                self._tasks[label] = self._bars.add_task(label, total=total, completed=done, note=note)
        self._bars.update(self._tasks[label], completed=done, total=total, note=note)


def _unheard(label: str, done: int, total: int, note: str = "") -> None:
    """Drops the report: rank 0 shows the same."""


class _RateColumn(TextColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{_short(speed)}/s" if speed else "", style="progress.data.speed")


def _bars() -> Progress:
    return Progress(
        TextColumn("  {task.description:<14}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        _RateColumn(""),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console(),
        transient=True,
    )


def _print_json(update: Update, _: _Clock) -> None:
    # If the parent is gone, the pipe is broken, and the error ends this process too.
    _print_line(json.dumps({_KEY: [update.label, update.done, update.total, update.note]}))


def _print_line(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _as_text(update: Update, clock: _Clock) -> str:
    rate = clock.rate(update.done)
    parts = [f"{update.label}: {100 * update.done // max(update.total, 1)}%"]
    if rate > 0:
        parts += [f"{_short(rate)}/s", f"{_minutes((update.total - update.done) / rate)} left"]
    return ", ".join([*parts, update.note] if update.note else parts)


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
