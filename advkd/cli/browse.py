"""`advkd browse URI...`: serves the page, prints its address and opens it.

The process needs no torch, for it may stay for days. The address is the last line of stdout.
"""

from typing import Annotated

import typer

from advkd.browse import BrowseSpec, create_app
from advkd.cli.serving import listening, port_of, serve
from advkd.runtime import limit_heaps
from advkd.text import DEFAULT_PORT, clear_errors


def browse_command(
    uris: Annotated[
        list[str], typer.Argument(metavar="URI...", help="Stores, or roots of stores: folders or s3://bucket/prefix.")
    ],
    student: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            help="A student to show beside the teacher: a folder, s3://bucket/prefix or models:/NAME@champion; may be "
            "given again.",
        ),
    ] = None,
    runs: Annotated[str, typer.Option(help="Folder of the registry; ignored if MLFLOW_TRACKING_URI is set.")] = "runs",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = DEFAULT_PORT,
    host: Annotated[
        str, typer.Option(help="Address to bind; any other than the loopback needs --token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(envvar="ADVKD_BROWSE_TOKEN", help="What a browser has to show once, 16 characters or more."),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Show latents decoded, by the autoencoder that their store keeps.")
    ] = False,
    notes: Annotated[
        str | None, typer.Option(metavar="FILE", help="Keep flags and notes of samples here, for the next viewer.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Show cached trajectories in a browser: stores on disk and in S3, sealed or growing; never changes them."""
    with clear_errors():
        # After 1000 walls of 100 random samples, a quarter less memory is resident.
        limit_heaps(2)
        spec = BrowseSpec(
            uris=tuple(uris), students=tuple(student or ()), runs=runs, host=host, port=port, decode=decode,
            notes=notes, token=token,
        )  # fmt: skip
        with listening(spec.host, spec.port, "advkd browse") as listener:
            app = create_app(spec, port_of(listener))
            # Without the token, which `ps` would show to everybody on this machine: the page asks for it.
            serve(app, listener, spec.host, open_browser=not no_open)
