"""A proxy between an S3 client and a real server that spoils a seeded share of the requests.

It understands just enough HTTP/1.1 to know where requests and responses begin and end, and passes everything on as it
came, the signed `Host` too. Each spoiled request suffers the next fault of a shuffled cycle, so that every fault comes
equally often; which request it hits is decided by the seed and the order of arrival.
"""

import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

FAULTS = ("500", "503", "reset in the response", "reset in the request", "delay", "truncation")
_ERRORS = {"500": ("Internal Server Error", "InternalError"), "503": ("Slow Down", "SlowDown")}
_PIECE = 2**16


@dataclass(frozen=True)
class _Message:
    """The head of a request or response with its blank line, and its body."""

    head: bytes
    body: bytes

    @property
    def first(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")


class FaultyProxy:
    """Listens on a free port of the loopback; counts in `hits` what it did to whom.

    Args:
        endpoint: `http://host:port` of the server.
        share: Share of the requests that are spoiled, in [0, 1].
        faults: The faults to cycle through.
        delay_seconds: What a delayed request waits for.
    """

    def __init__(
        self,
        endpoint: str,
        share: float,
        *,
        faults: Sequence[str] = FAULTS,
        seed: int = 0,
        delay_seconds: float = 2.0,
    ) -> None:
        self.share = share
        self.hits: Counter[str] = Counter()
        self.requests = 0
        self.unspoiled = 0
        self._upstream = (urlsplit(endpoint).hostname or "", urlsplit(endpoint).port or 80)
        self._faults = tuple(faults)
        self._cycle: list[str] = []
        self._random = random.Random(seed)
        self._delay_seconds = delay_seconds
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """End all connections and threads."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with self._held(client), contextlib.suppress(OSError):
            while (head := _read_head(client)) is not None and self._answer(client, head):
                pass

    def _answer(self, client: socket.socket, head: bytes) -> bool:
        """One request; whether the connection can be used for another."""
        fault = self._next_fault()
        length = _length(head)
        if b"expect: 100-continue" in head.lower():
            # botocore waits for this before it sends the body of a PUT.
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault == "reset in the request":
            with self._server() as server:
                server.sendall(head + _read_exactly(client, length // 2))
                _reset(server)
            _reset(client)
            return False
        request = _Message(head, _read_exactly(client, length))
        if fault in _ERRORS:
            client.sendall(_error(request, fault))
            return True
        if fault == "delay":
            self._ended.wait(self._delay_seconds)
        with self._server() as server:
            server.sendall(request.head + request.body)
            response = _read_response(server, request)
        if fault == "reset in the response":
            if response.body:
                client.sendall(response.head + response.body[: len(response.body) // 2])
            _reset(client)
            return False
        if fault == "truncation":
            kept = response.head + response.body[: len(response.body) // 2]
            client.sendall(kept if response.body else kept[: len(kept) // 2])
            return False
        client.sendall(response.head + response.body)
        return b"connection: close" not in response.head.lower()

    def _next_fault(self) -> str | None:
        with self._lock:
            self.requests += 1
            if self._random.random() >= self.share:
                self.unspoiled += 1
                return None
            if not self._cycle:
                self._cycle = self._random.sample(self._faults, len(self._faults))
            fault = self._cycle.pop()
            self.hits[fault] += 1
            return fault

    @contextlib.contextmanager
    def _server(self) -> Iterator[socket.socket]:
        with self._held(socket.create_connection(self._upstream, timeout=30)) as server:
            yield server

    @contextlib.contextmanager
    def _held(self, opened: socket.socket) -> Iterator[socket.socket]:
        with self._lock:
            self._sockets.add(opened)
        try:
            with opened:
                yield opened
        finally:
            with self._lock:
                self._sockets.discard(opened)


@contextlib.contextmanager
def faulty_proxy(
    endpoint: str, share: float, *, faults: Sequence[str] = FAULTS, seed: int = 0, delay_seconds: float = 2.0
) -> Iterator[FaultyProxy]:
    """A `FaultyProxy` that ends with the block."""
    proxy = FaultyProxy(endpoint, share, faults=faults, seed=seed, delay_seconds=delay_seconds)
    try:
        yield proxy
    finally:
        proxy.close()


def _read_head(connection: socket.socket) -> bytes | None:
    """Up to and with the blank line, None if the peer has gone."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # Byte by byte would be slow, and reading past the head would need a buffer: look first, then take.
        seen = connection.recv(_PIECE, socket.MSG_PEEK)
        if not seen:
            return None
        end = (head + seen).find(b"\r\n\r\n")
        head += connection.recv(len(seen) if end < 0 else end + 4 - len(head))
    return head


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < count:
        piece = connection.recv(min(_PIECE, count - len(pieces)))
        if not piece:
            raise ConnectionError("the peer has gone")
        pieces += piece
    return bytes(pieces)


def _read_response(server: socket.socket, request: _Message) -> _Message:
    head = _read_head(server)
    while head is not None and head.startswith(b"HTTP/1.1 100"):
        head = _read_head(server)
    if head is None:
        raise ConnectionError("the server has gone")
    if request.first.startswith("HEAD ") or head[9:12] in (b"204", b"304"):
        return _Message(head, b"")
    if b"transfer-encoding: chunked" in head.lower():
        return _Message(head, _read_chunks(server))
    return _Message(head, _read_exactly(server, _length(head)))


def _read_chunks(connection: socket.socket) -> bytes:
    """A chunked body as it is on the wire."""
    body = b""
    while True:
        line = b""
        while not line.endswith(b"\r\n"):
            line += _read_exactly(connection, 1)
        size = int(line.split(b";")[0], 16)
        body += line + _read_exactly(connection, size + 2)
        if size == 0:
            return body


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
        if line.startswith(b"transfer-encoding:"):
            raise ValueError("this proxy understands no chunked requests; extend it")
    return 0


def _error(request: _Message, status: str) -> bytes:
    reason, code = _ERRORS[status]
    xml = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{reason}</Message></Error>'
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(xml)}\r\n\r\n"
    return (head + ("" if request.first.startswith("HEAD ") else xml)).encode()


def _reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN, as a crashed load balancer does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
