"""Relays log records: a child writes them to stderr as JSON lines, and its parent logs them again.

The lines of a training process thus carry the parent's facts about the run and appear wherever the parent's lines do.
"""

import json
import logging
import os
import sys
from dataclasses import dataclass

from advkd.runtime.reporting import FORM_VARIABLE
from advkd.runtime.torchrun import speaks

_KEY = "advkd_log"
_OURS = ("advkd", "storage")


@dataclass(frozen=True)
class Said:
    """A log record of a child: level as in `logging`, name of the logger, message with its traceback, if any."""

    level: int
    logger: str
    message: str


def relay_logs() -> None:
    """Sends this process's log records to its parent if the parent reads them; of several ranks, only rank 0 does."""
    if os.environ.get(FORM_VARIABLE) != "json":
        return
    # Warnings of any library, and our own records from INFO on.
    handler = _Relay() if speaks() else logging.NullHandler()
    logging.basicConfig(handlers=[handler], level=logging.WARNING, format="%(message)s", force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def parse_log_line(line: str) -> Said | None:
    """Parses a line of a child's stderr; returns None for a line that holds no log record."""
    if f'"{_KEY}"' not in line:
        return None
    try:
        level, logger, message = json.loads(line)[_KEY]
        return Said(int(level), str(logger), str(message))
    except (ValueError, TypeError, KeyError):
        return None


class _Relay(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # One write per line: threads of a child may log at once.
        sys.stderr.write(json.dumps({_KEY: [record.levelno, record.name, self.format(record)]}) + "\n")
        sys.stderr.flush()
