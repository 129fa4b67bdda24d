"""The table that every seam uses: rows of this project, and rows that installed packages add.

A package adds a row by an entry point of the table's group in its own `pyproject.toml`:

    [project.entry-points."advkd.layouts"]
    mine = "my_package.my_module:my_row"

A row is imported when its name is first looked up. Nothing else is imported by name: no remote code, no pickle.
"""

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


class Table(Mapping[str, Row], Generic[Row]):
    """Rows by name. A row of this project is never replaced by an entry point of the same name.

    Args:
        group: entry point group in which installed packages add rows, such as "advkd.layouts".
        noun: what a row is, for messages, such as "a layout".
        rows: the rows of this project.
    """

    def __init__(self, group: str, noun: str, rows: Mapping[str, Row]) -> None:
        self.group = group
        self.noun = noun
        self._rows = dict(rows)
        self._loaded: dict[str, Any] = {}
        self._points: dict[str, EntryPoint] = {}
        self._looked_at: tuple[tuple[str, float | None], ...] | None = None

    def __getitem__(self, name: str) -> Row:
        if name in self._rows:
            return self._rows[name]
        if name not in self._loaded:
            self._loaded[name] = self._added()[name].load()
        row: Row = self._loaded[name]
        return row

    def __iter__(self) -> Iterator[str]:
        return iter((*self._rows, *sorted(self._added().keys() - self._rows.keys())))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._rows or name in self._added()

    def choose(self, name: str, setting: str) -> Row:
        """Returns the row that a setting names.

        Raises:
            ValueError: there is no row of this name; the message lists the names that exist.
        """
        if name not in self:
            raise ValueError(
                f"{setting} must be one of {sorted(self)}, got {name!r}; choose one of them, or install the package "
                f"that adds {self.noun} of that name (entry points {self.group})"
            )
        return self[name]

    def _added(self) -> dict[str, EntryPoint]:
        """Looks again where a folder of packages is new or has changed: to read all of them takes milliseconds."""
        folders = tuple((folder, _changed(folder)) for folder in sys.path)
        if folders != self._looked_at:
            self._points = {point.name: point for point in entry_points(group=self.group)}
            self._looked_at = folders
        return self._points


def _changed(folder: str) -> float | None:
    try:
        return Path(folder).stat().st_mtime
    except OSError:
        return None
