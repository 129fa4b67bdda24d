"""How `advkd cache` speaks: tables for people on stdout, JSON for machines, errors in one line and exit code 1."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from storage import StoreError

_WIDE = 10_000
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")
_DURATIONS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))

Uri = Annotated[str, typer.Argument(metavar="URI", help="A store: a local folder or s3://bucket/prefix.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]


@contextmanager
def clear_errors() -> Iterator[None]:
    """Errors of ours, raised inside, become one line on stderr and exit code 1."""
    try:
        yield
    except (StoreError, ValueError, OSError, ArithmeticError) as error:
        fail(str(error), error)


def fail(message: str, cause: Exception | None = None) -> NoReturn:
    """End with one line on stderr and exit code 1."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(1) from cause


def stdout() -> Console:
    """Where tables go. Lines are never cut or folded: a URI must survive a pipe; a narrow terminal wraps by itself."""
    return Console(width=_WIDE, soft_wrap=True, highlight=False)


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def columns(*names: str, left: int = 1) -> Table:
    """A table without lines, its first columns aligned left, the others right, as numbers are."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for position, name in enumerate(names):
        table.add_column(name, justify="left" if position < left else "right")
    return table


def facts(rows: dict[str, str]) -> Table:
    """A name and what there is to say, line by line."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def size_text(size: float) -> str:
    """Bytes in units of 1024, as disks and memories are told: `115.0 MiB`."""
    return _in_units(size, 1024, _BINARY)


def billed_text(size: float) -> str:
    """Bytes in units of 1000, as object stores are billed: `196.6 TB`."""
    return _in_units(size, 1000, _DECIMAL)


def duration_text(seconds: float) -> str:
    """`12.5 s`, `3 min 20 s`, `5 h 12 min`, `41 d 3 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for position, (unit, name) in enumerate(_DURATIONS):
        if seconds >= unit:
            smaller, smaller_name = (*_DURATIONS, (1.0, "s"))[position + 1]
            rest = int(seconds % unit // smaller)
            return f"{int(seconds // unit):,} {name}" + (f" {rest} {smaller_name}" if rest else "")
    raise AssertionError("a minute or more has a unit")


def age_text(moment: float | None) -> str:
    """How long ago a moment was, in its largest unit: `3 h`; `-` if it is not known."""
    if moment is None or moment == float("inf"):
        return "-"
    seconds = max(0.0, time.time() - moment)
    unit, name = next(((unit, name) for unit, name in _DURATIONS if seconds >= unit), (1.0, "s"))
    return f"{seconds // unit:.0f} {name}"


def _in_units(size: float, base: int, names: tuple[str, ...]) -> str:
    for name in names[:-1]:
        if size < base * 0.99995:
            return f"{size:.1f} {name}" if name != names[0] else f"{size:.0f} {name}"
        size /= base
    return f"{size:,.1f} {names[-1]}"
