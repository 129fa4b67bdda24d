"""Logs long work for those who are not at the terminal: a line per tenth of it, or per ten minutes."""

import time
from collections.abc import Callable

from advkd.runtime import Report

BESIDE_A_BAR = "beside_a_bar"
"""Attribute of a record that a terminal leaves out, because a bar shows the same."""
_PARTS = 10
_SECONDS = 600.0


class Milestones:
    """A `Report` that also logs; the terminal's bar goes on.

    Args:
        report: what shows progress on the terminal.
        log: called with a line.
    """

    def __init__(self, report: Report, log: Callable[[str], object]) -> None:
        self._report, self._log = report, log
        self._part = 0
        self._logged = time.monotonic()

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Logs when another tenth is done, or ten minutes have passed."""
        self._report(label, done, total, note)
        part, now = _PARTS * done // max(total, 1), time.monotonic()
        if part > self._part or now - self._logged > _SECONDS:
            self._part, self._logged = part, now
            share = f"{label}: {100 * done // max(total, 1)} %, {done:,} of {total:,} samples"
            self._log(f"{share}, {note}" if note else share)
