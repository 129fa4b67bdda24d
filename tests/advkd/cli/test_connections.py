"""Connections that are slow, half-open or many, against a real server process: an honest request is answered."""

import asyncio
import contextlib
import http.client
import logging
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from advkd.cli.connections import Seldom
from advkd.cli.serving import listening
from storage.testing.trajectories import fill
from tests.advkd.browse.served import served
from tests.advkd.browse.specs import image_spec

TOKEN = "correct horse battery"
DESCRIPTORS = 256


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "stderr"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Iterator[int]:
    root = str(tmp_path_factory.mktemp("stores"))
    fill(root, image_spec(), 32)
    with log.open("w") as file, served(root, "--token", TOKEN, descriptors=DESCRIPTORS, log=file) as address:
        yield urlsplit(address).port or 0


def timed(port: int, connection: http.client.HTTPConnection | None = None) -> float:
    """Seconds until a small answer is there."""
    client = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    began = time.perf_counter()
    client.request("GET", "/static/favicon.svg", headers={"Authorization": f"Bearer {TOKEN}"})
    answer = client.getresponse()
    answer.read()
    took = time.perf_counter() - began
    assert answer.status == 200
    if connection is None:
        client.close()
    return took


def test_small_answers_on_a_kept_connection_do_not_wait_for_an_acknowledgement(port: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as kept:
        timed(port, kept)
        # A delayed acknowledgement takes 40 ms; the rest is what else this machine does (`make bench-browse` has 3 ms).
        rounds = [statistics.median(timed(port, kept) for _ in range(60)) for _ in range(3)]
    assert min(rounds) <= 0.03


def test_accepted_sockets_send_at_once() -> None:
    told: list[int] = []

    async def connect() -> None:
        def made(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listening("127.0.0.1", 0, "advkd browse")
        async with await asyncio.start_server(made, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            await reader.read()
            writer.close()

    asyncio.run(connect())
    assert told == [1]


@pytest.mark.thorough
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_half_open_connections_lock_nobody_out(port: int, log: Path, sent: bytes) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(300):
            half = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            half.sendall(sent)
        assert timed(port) <= 2.0
    assert log.stat().st_size < 20_000


@pytest.mark.thorough
def test_what_never_arrives_is_not_waited_for(port: int) -> None:
    post = b"POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 40\r\n\r\ntoken="
    whole = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with contextlib.ExitStack() as held:
        slow = []
        for first in (b"", b"GET / HT", post, whole + b"GET / HTT"):
            slow.append(held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=40)))
            slow[-1].sendall(first)
        kept = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=40))
        kept.sendall(whole)
        began = time.monotonic()
        for each in slow:
            with contextlib.suppress(ConnectionResetError):
                while each.recv(2**16):
                    pass
        assert 5 < time.monotonic() - began < 30
        # One that has nothing to finish stays, for people look at a page for longer.
        kept.sendall(whole)
        assert kept.recv(10).startswith(b"HTTP/1.1")


def test_a_message_is_logged_five_times_a_minute() -> None:
    seldom = Seldom()
    said = [
        logging.LogRecord("asyncio", logging.ERROR, "", 0, text, (), None) for text in ("full\n1", "full\n2", "else")
    ]
    assert [seldom.filter(said[k % 2]) for k in range(8)] == [True] * 5 + [False] * 3
    assert seldom.filter(said[2])
