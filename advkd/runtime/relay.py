"""Log records of a child process as JSON lines on its stderr, which its parent logs again as its own.

So the lines of a training process carry what the parent knows of the run, and are seen wherever the parent's are.
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
    """One record of a child: level as in `logging`, name of the logger, message with its traceback if it has one."""

    level: int
    logger: str
    message: str


def relay_logs() -> None:
    """Sends this process's log records to its parent, if that reads them; of several processes one tells them."""
    if os.environ.get(FORM_VARIABLE) != "json":
        return
    # Warnings of anybody, and what we say ourselves.
    handler = _Relay() if speaks() else logging.NullHandler()
    logging.basicConfig(handlers=[handler], level=logging.WARNING, format="%(message)s", force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def parse_log_line(line: str) -> Said | None:
    """The record in a line of a child's stderr, None for any other line."""
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
