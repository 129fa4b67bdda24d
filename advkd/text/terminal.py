"""How `advkd cache` speaks: tables for people on stdout, JSON for machines, errors in one line and exit code 1."""

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
