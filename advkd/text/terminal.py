"""Output of the commands: tables for people or JSON for machines on stdout; errors as one line with exit code 1."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from storage import StoreError

_WIDE = 10_000

Uri = Annotated[str, typer.Argument(metavar="URI", help="A store: a local folder or s3://bucket/prefix.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turns our own errors, raised inside, into one line on stderr and exit code 1."""
    try:
        yield
    except (StoreError, ValueError, OSError, ArithmeticError) as error:
        fail(str(error), error)


def fail(message: str, cause: Exception | None = None) -> NoReturn:
    """Ends the command with one line on stderr and exit code 1."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(1) from cause


def stdout() -> Console:
    """Returns the console for tables. It never cuts or folds a line, so that a URI survives a pipe."""
    return Console(width=_WIDE, soft_wrap=True, highlight=False)


def print_json(value: object) -> None:
    """Prints one JSON value on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def columns(*names: str, left: int = 1) -> Table:
    """Builds a table without rules; the first `left` columns are aligned left, the others right, as numbers are."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for position, name in enumerate(names):
        table.add_column(name, justify="left" if position < left else "right")
    return table


def facts(rows: dict[str, str]) -> Table:
    """Builds a table of two columns: names and values."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    for name, value in rows.items():
        table.add_row(name, value)
    return table
