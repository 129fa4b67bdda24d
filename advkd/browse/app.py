"""The application: routes, pages, errors, and the guard before all of them."""

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from advkd.browse import api, pages
from advkd.browse.access import Guard
from advkd.browse.catalogue import Catalogue
from advkd.browse.decoding import Decoders
from advkd.browse.errors import FAULT, SHOWN_ERRORS, NotShownError, Told, told
from advkd.browse.notes import Notes
from advkd.browse.settings import BrowseSpec
from advkd.browse.shown import Shown
from advkd.browse.students import Students

logger = logging.getLogger(__name__)
_THREADS = 12
STATIC = Path(__file__).parent / "static"
_OPEN = ("/static/style.css", "/static/favicon.svg")
"""What the page needs that asks for the token."""


def create_app(spec: BrowseSpec, port: int | None = None) -> ASGIApp:
    """Creates the web application of a server.

    Args:
        spec: settings of the server.
        port: port that is bound, if `spec.port` is 0.

    Raises:
        StoreError: a URI is neither a store nor a root of stores, cannot be reached, or may not be read.
        ValueError: a student cannot be loaded, or fits none of the stores.
    """
    catalogue = Catalogue(spec.uris)
    catalogue.require()
    notes = None if spec.notes is None else Notes(spec.notes)
    shown = Shown(catalogue, Students(spec.students, catalogue.kept, spec.runs), Decoders(spec.decode), notes)
    _require_fitting(shown)
    handlers = {kind: _tell for kind in (*SHOWN_ERRORS, HTTPException)}
    app = Starlette(
        lifespan=_few_threads,
        routes=[
            *pages.ROUTES,
            *api.ROUTES,
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
        ],
        exception_handlers=handlers | {Exception: _own_up},
    )
    app.state.shown = shown
    app.router.redirect_slashes = False
    return Guard(app, replace(spec, port=spec.port if port is None else port), _ask_for_token)


@contextlib.asynccontextmanager
async def _few_threads(_app: Starlette) -> AsyncIterator[None]:
    """Limits concurrent requests: a wall needs megabytes while it is made, and more at once would be no faster."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def _require_fitting(shown: Shown) -> None:
    """Refuses a student that fits none of the stores, before anything is served."""
    if not shown.students.all:
        return
    listed = shown.catalogue.stores(newest=True)
    specs = [one.summary.spec for one in listed if one.summary.spec is not None]
    for student in shown.students.all:
        refusals = [student.refusal(spec) for spec in specs]
        if refusals and all(refusals):
            raise ValueError(f"{student.name}: {refusals[0]}")


def _tell(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        kind = replace(told(NotShownError()), status=error.status_code)
        return _answer(request, kind, "there is no such page here; go to the list of stores")
    return _answer(request, told(error), str(error))


def _own_up(request: Request, error: Exception) -> Response:
    """Answers an unexpected error: the page says that it is ours, the log holds it; Starlette raises it again."""
    logger.error("%s failed: %s", request.url.path, type(error).__name__)
    return _answer(request, FAULT, "a page must not fail, and this one did; what advkd browse printed says where")


def _answer(request: Request, kind: Told, message: str) -> Response:
    headers = {"Retry-After": "3"} if kind.passing else {}
    if request.url.path.startswith("/api/"):
        body = {"error": {"kind": kind.kind, "title": kind.title, "message": message, "passing": kind.passing}}
        return JSONResponse(body, kind.status, headers=headers)
    return pages.error_page(request, kind, message, headers)


async def _ask_for_token(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    if request.url.path in _OPEN:
        answer: Response = FileResponse(STATIC / Path(request.url.path).name)
    elif request.url.path.startswith(("/api/", "/static/")):
        answer = JSONResponse({"error": {"kind": "token", "message": "show the token first"}}, 401)
    else:
        answer = pages.token_page(request)
    await answer(scope, receive, send)
