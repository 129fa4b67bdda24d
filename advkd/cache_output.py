"""How `advkd cache` speaks: tables for people on stdout, JSON for machines, errors in one line and exit code 1."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from storage import StoreError

_WIDE = 10_000

Uri = Annotated[str, typer.Argument(metavar="URI", help="A store: a local folder or s3://bucket/prefix.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]


@contextmanager
def clear_errors() -> Iterator[None]:
    """Errors of ours, raised inside, become a message on stderr and exit code 1."""
    try:
        yield
    except (StoreError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def stdout() -> Console:
    """Where tables go. Lines are never cut or folded: a URI must survive a pipe; a narrow terminal wraps by itself."""
    return Console(width=_WIDE, soft_wrap=True, highlight=False)


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
