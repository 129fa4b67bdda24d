"""An HTTP server that answers S3 requests from a script: for what no real server can be made to do.

Signatures are not looked at; every request takes the next answer, and the last one again and again.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """Status and body, sent with the length of `body` unless another is claimed."""

    status: int
    body: bytes = b""
    claimed: int | None = None


def error_answer(status: int, code: str) -> Answer:
    """An S3 error."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>as scripted</Message></Error>".encode())


@contextlib.contextmanager
def scripted_server(answers: Sequence[Answer]) -> Iterator[tuple[str, list[str]]]:
    """The endpoint, and the requests that came so far as "METHOD /path?query"."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(f"{self.command} {self.path}")
            answer = answers[min(len(requests), len(answers)) - 1]
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body) if answer.claimed is None else answer.claimed))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()
