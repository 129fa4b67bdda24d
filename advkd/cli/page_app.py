"""The page of an export as an application: serves the files of its folder, and nothing outside of it."""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".png": "image/png",
    ".md": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".py": "text/plain; charset=utf-8",
}
"""Browsers run modules and WebAssembly of these types alone, and machines know others or none."""
_CHUNK = 2**20
"""Bytes that are read at a time: the runtime has 14 MB, and each read waits for a thread."""
_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # With both, browsers let WebAssembly have threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


def is_page(folder: Path) -> bool:
    """Returns whether `advkd export --format web` wrote a folder."""
    return (folder / "page.json").is_file() and (folder / "index.html").is_file()


def page_app(folder: Path, hosts: tuple[str, ...] = ("127.0.0.1", "localhost")) -> Starlette:
    """Returns the application.

    Args:
        folder: of a page. Symbolic links that lead out of it are not followed.
        hosts: names that requests may call this server by, so that no other site can read it by a name of its own.
    """
    return Starlette(
        routes=[Mount("/", _Files(directory=folder.resolve(), html=True))],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(_Headers)],
    )


class _Files(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        suffix = Path(full_path).suffix
        if isinstance(response, FileResponse):
            response.chunk_size = _CHUNK
        response.headers["Content-Type"] = _TYPES.get(suffix, "application/octet-stream")
        return response


class _Headers:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)
