"""Flags and lines of text of samples, kept in a file for the next viewer (`--notes FILE`).

One JSON object a line, the latest of a sample counts: {"store": .., "sample": .., "text": ..}; text null is no flag.
"""

import json
import threading
from collections.abc import Mapping
from pathlib import Path

from advkd.browse.errors import RequestError

LONGEST = 500
_MOST = 10_000
"""Samples with a note, over all stores."""


class Notes:
    """The notes of a file. Thread-safe; another server's later lines are read when the page starts again.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be read or written.
    """

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self._lock = threading.Lock()
        self._notes: dict[tuple[str, int], str] = {}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a+", encoding="utf-8") as lines:
            lines.seek(0)
            for number, line in enumerate(lines, start=1):
                try:
                    said = json.loads(line)
                    self._put(str(said["store"]), int(said["sample"]), said["text"])
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(
                        f"notes are lines of JSON with store, sample and text, got another in line {number} of {file}; "
                        "give a file of `advkd browse`, or a new one"
                    ) from error

    def of(self, store: str) -> dict[str, str]:
        """Returns the notes of a store by sample."""
        with self._lock:
            return {str(sample): text for (name, sample), text in self._notes.items() if name == store}

    def write(self, store: str, texts: Mapping[int, object]) -> None:
        """Keeps notes by sample; None removes one.

        Raises:
            RequestError: one is no text or too long, or there are too many.
        """
        with self._lock:
            for text in texts.values():
                if text is not None and not (isinstance(text, str) and len(text) <= LONGEST):
                    raise RequestError(f"a note is a text of at most {LONGEST} characters, got another; shorten it")
            if len(self._notes) + len(texts) > _MOST:
                raise RequestError(f"a file has notes on at most {_MOST:,} samples; remove some, or start another file")
            with self._file.open("a", encoding="utf-8") as lines:
                for sample, text in texts.items():
                    self._put(store, sample, text)
                    lines.write(json.dumps({"store": store, "sample": sample, "text": text}) + "\n")

    def _put(self, store: str, sample: int, text: object) -> None:
        self._notes.pop((store, sample), None)
        if text is not None:
            self._notes[store, sample] = str(text)
