"""A hub on this machine: the part of its HTTP interface by which a repository is listed and files are fetched."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubServer:
    """Repositories by id, each a folder; `fetched` lists the files that were asked for.

    Of gated ones the files are refused and the listing is not, as on the hub.
    """

    endpoint: str = ""
    repositories: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)


@contextmanager
def serve_hub() -> Iterator[HubServer]:
    hub = HubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        if path.startswith("api/models/"):
            owner, name, *rest = path.removeprefix("api/models/").split("/")
            self._list(f"{owner}/{name}", rest)
        else:
            owner, name, _, revision, *file = path.split("/")
            self._file(f"{owner}/{name}", revision, "/".join(file))

    do_HEAD = do_GET

    def _list(self, repository: str, rest: list[str]) -> None:
        if self._refused(repository, rest[1] if len(rest) > 1 else "main"):
            return
        folder = self.hub.repositories[repository]
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
        if rest[:1] == ["tree"]:
            self._json([{"type": "file", "path": n, "size": s, "oid": _oid(n)} for n, s in names.items()])
        else:
            self._json(
                {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": n, "size": names[n]} for n in names]}
            )

    def _file(self, repository: str, revision: str, name: str) -> None:
        if self._refused(repository, revision):
            return
        data = (self.hub.repositories[repository] / name).read_bytes()
        if self.command == "GET":
            self.hub.fetched.append(name)
        self._answer(200, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT})

    def _refused(self, repository: str, revision: str) -> bool:
        code = None
        if "expired" in self.headers.get("Authorization", ""):
            self._answer(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
            return True
        if repository in self.hub.gated and not self.path.startswith("/api/"):
            code = (403, "GatedRepo")
        elif repository not in self.hub.repositories:
            code = (404, "RepoNotFound")
        elif revision not in ("main", "v1", COMMIT):
            code = (404, "RevisionNotFound")
        if code:
            self._answer(code[0], b"{}", {"X-Error-Code": code[1], "X-Error-Message": code[1]})
        return code is not None

    def _json(self, found: object) -> None:
        self._answer(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def _answer(self, code: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def _oid(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()
