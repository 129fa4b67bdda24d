"""HTTP connections of `advkd browse`, of which none can lock the others out.

A client has a limited time to send what it has begun, and the server keeps a limited number of connections: where they
are all taken, a new one replaces the oldest on which nobody waits for an answer.
"""

import asyncio
import logging
import resource
import time
from collections.abc import Iterable
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10.0
"""Seconds in which a request has to arrive whole; on a new connection, they begin with the connection."""
_MOST_CONNECTIONS = 256
_MOST_RECORDS = 5
_RECORDS_SECONDS = 60.0


def most_connections() -> int:
    """Returns how many connections a server keeps: the other half of its file descriptors reads the stores."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = descriptors == resource.RLIM_INFINITY
    return _MOST_CONNECTIONS if unlimited else max(1, min(_MOST_CONNECTIONS, descriptors // 2))


class Connection(H11Protocol):
    """A connection that is closed when its request does not arrive, or when others need its place."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._since = self.loop.time()
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Closes the connection that is waited for least, if there are too many."""
        super().connection_made(transport)
        self._watch()
        others = cast("Iterable[Connection]", self.connections - {self})
        open_now = [other for other in others if not other.transport.is_closing()]
        if len(open_now) >= most_connections():
            idle = [other for other in open_now if not other.answering] or [
                other for other in open_now if other.flow.write_paused
            ]
            min(idle or [self], key=lambda each: each._since).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Takes bytes of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Waits for the next request, which may have begun."""
        self._since = self.loop.time()
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the waiting."""
        super().connection_lost(exc)
        self._forget()

    @property
    def answering(self) -> bool:
        """Whether a request has arrived whole and its answer has not left yet."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    @property
    def _begun(self) -> bool:
        """Whether the client has more to send: a first request, the rest of a later one, or a body."""
        if self.conn.their_state is h11.IDLE:
            return self.cycle is None or bool(self.conn.trailing_data[0])
        return self.conn.their_state is h11.SEND_BODY

    def _watch(self) -> None:
        # Further bytes of the same request do not prolong its time.
        if not self._begun or self.transport.is_closing():
            self._forget()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Seldom(logging.Filter):
    """Lets a message through five times a minute, however often it is logged: clients must not fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether a record is logged."""
        now, key = time.monotonic(), record.getMessage().partition("\n")[0]
        if len(self._passed) > 100:
            self._passed.clear()
        recent = [at for at in self._passed.get(key, []) if now - at < _RECORDS_SECONDS]
        self._passed[key] = [*recent, now][:_MOST_RECORDS]
        return len(recent) < _MOST_RECORDS


def bound_logs() -> None:
    """Bounds what clients can make asyncio and uvicorn write."""
    for name in ("asyncio", "uvicorn.error"):
        logging.getLogger(name).addFilter(Seldom())
