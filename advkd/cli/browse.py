"""`advkd browse URI...`: serves the page, prints its address and opens it.

The process needs no torch, for it may stay for days. The address is the last line of stdout.
"""

import socket
import sys
import threading
import webbrowser
from typing import Annotated, cast

import typer
import uvicorn

from advkd.browse import BrowseSpec, create_app
from advkd.cli.connections import Connection, bound_logs, most_connections
from advkd.runtime import limit_heaps
from advkd.text import DEFAULT_PORT, clear_errors

_GRACE_SECONDS = 2
_BACKLOG = 2048
_ACCEPTED_AT_ONCE = 64
"""Connections that asyncio accepts before any of them is looked at; more than are free would be errors in the log."""
_KEEP_ALIVE_SECONDS = 75
"""Longer than people look at a page: a request on a connection that is being closed gets no answer."""


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
        listener = _listening(spec)
        with listener:
            address = _address(spec, listener)
            app = create_app(spec, listener.getsockname()[1])
            typer.echo(address)
            sys.stdout.flush()
            bound_logs()
            server = uvicorn.Server(
                uvicorn.Config(
                    app,
                    http=Connection,
                    ws="none",
                    backlog=max(1, min(_ACCEPTED_AT_ONCE, most_connections() // 2)),
                    log_level="warning",
                    access_log=False,
                    server_header=False,
                    timeout_graceful_shutdown=_GRACE_SECONDS,
                    timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                )
            )
            if not no_open:
                # Leave out the token, which `ps` would show to everybody on this machine: the page asks for it.
                # A terminal browser returns only when it is closed, so open it in a thread.
                threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
            server.run(sockets=[listener])


def _listening(spec: BrowseSpec) -> socket.socket:
    family = socket.AF_INET6 if ":" in spec.host else socket.AF_INET
    # With protocol 0, asyncio does not set TCP_NODELAY: small answers would wait for the client's delayed ACK, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((spec.host, spec.port))
        # From here on, requests wait for the server, so the address may be used as soon as it is printed.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(
            f"`advkd browse` needs an address that is free, got {spec.host}:{spec.port} ({error.strerror}); use "
            "--port 0 for any free port"
        ) from error
    return listener


def _address(spec: BrowseSpec, listener: socket.socket) -> str:
    port = cast(int, listener.getsockname()[1])
    return f"http://{f'[{spec.host}]' if ':' in spec.host else spec.host}:{port}/"
