"""Serves a page to browsers: an address of this machine, a server that clients cannot lock, and a browser opened."""

import socket
import sys
import threading
import webbrowser
from typing import cast

import typer
import uvicorn
from starlette.types import ASGIApp

from advkd.cli.connections import Connection, bound_logs, most_connections

_GRACE_SECONDS = 2
_BACKLOG = 2048
_ACCEPTED_AT_ONCE = 64
"""Connections that asyncio accepts before any of them is looked at; more than are free would be errors in the log."""
_KEEP_ALIVE_SECONDS = 75
"""Longer than people look at a page: a request on a connection that is being closed gets no answer."""


def listening(host: str, port: int, command: str) -> socket.socket:
    """Returns a socket that listens on an address; port 0 is a free one.

    Args:
        host: an address of this machine.
        port: port.
        command: that asks for it, as "advkd browse", for the message.

    Raises:
        OSError: the address is not free, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With protocol 0, asyncio does not set TCP_NODELAY: small answers would wait for the client's delayed ACK, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # From here on, requests wait for the server, so the address may be used as soon as it is printed.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(
            f"`{command}` needs an address that is free, got {host}:{port} ({error.strerror}); use --port 0 for any "
            "free port"
        ) from error
    return listener


def port_of(listener: socket.socket) -> int:
    """Returns the port that a socket listens on."""
    return cast(int, listener.getsockname()[1])


def serve(app: ASGIApp, listener: socket.socket, host: str, *, open_browser: bool) -> None:
    """Prints the address on stdout, opens it if wanted, and serves until Ctrl-C."""
    address = f"http://{f'[{host}]' if ':' in host else host}:{port_of(listener)}/"
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
    if open_browser:
        # A terminal browser returns only when it is closed, so open it in a thread.
        threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
    server.run(sockets=[listener])
