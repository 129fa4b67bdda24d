"""The result of a command, as it is printed: a sentence and a URI for people, or one JSON object."""

import json
from typing import Annotated, Any

import typer

from advkd.runtime import speaks

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, for machines.")]


def tell(sentence: str, uri: str, facts: dict[str, Any], as_json: bool) -> None:
    """Prints a sentence and the URI of the result, or the URI and the facts as JSON; of several ranks one prints."""
    if not speaks():
        return
    if as_json:
        typer.echo(json.dumps({"uri": uri, **facts}))
        return
    typer.echo(sentence)
    typer.echo(uri)
