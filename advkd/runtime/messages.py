"""JSON values between two processes of this machine, with open files beside them, over a Unix socket."""

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

_LENGTH_BYTES = 4
_MOST_BYTES = 2**24
_MOST_FILES = 4


def send(connection: socket.socket, value: object, files: Sequence[int] = ()) -> None:
    """Sends a JSON value behind its length, and file descriptors, which the receiver gets as its own.

    Raises:
        OSError: the other end has gone.
    """
    text = json.dumps(value).encode()
    length = len(text).to_bytes(_LENGTH_BYTES, "big")
    if files:
        socket.send_fds(connection, [length], files)
    else:
        connection.sendall(length)
    connection.sendall(text)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Returns what `send` sends: a JSON object, and the descriptors, which the caller closes.

    Raises:
        OSError: the other end has gone, or is silent for as long as the connection's time-out.
        ValueError: this is no message.
    """
    length, files, _, _ = socket.recv_fds(connection, _LENGTH_BYTES, _MOST_FILES)
    try:
        if not length:
            raise ConnectionError("a message must follow, but the other end has gone")
        left = int.from_bytes(length, "big")
        if len(length) < _LENGTH_BYTES or left > _MOST_BYTES:
            raise ValueError(f"a message must begin with its length, at most {_MOST_BYTES}, got {length!r}")
        text = bytearray()
        while len(text) < left:
            part = connection.recv(left - len(text))
            if not part:
                raise ConnectionError(f"a message of {left} bytes must follow, but it ends after {len(text)}")
            text += part
        value = json.loads(text.decode())
        if not isinstance(value, dict):
            raise ValueError(f"a message must be a JSON object, got {type(value).__name__}")
    except BaseException:
        for file in files:
            os.close(file)
        raise
    return value, files
