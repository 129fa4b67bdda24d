"""Access control: read-only methods, known host names, a token, and headers that keep other sites out.

The token is compared once, in constant time; later requests carry a cookie with a secret of this run.
"""

import asyncio
import hmac
import re
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from advkd.browse.settings import BrowseSpec

TOKEN_PATH = "/token"
NOTES_PATH = re.compile(r"/api/stores/[\w-]+/notes")
NEXT = "next"
"""Key, in a scope and in the form, of the requested page."""
LEAVE = "leave"
"""Field of the form by which a browser gives up its cookie."""
GUARDED = "guarded"
"""Key in a scope: whether a token is asked for."""
_PARAMETER = "token"
WRONG_SECONDS = 0.5
"""How long the answer to a wrong token takes."""
_COOKIE_SECONDS = 30 * 24 * 3600
_LONGEST_BODY = 16384
_LONGEST_NEXT = 2048
_LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Checks every request before the routes.

    Args:
        app: the guarded application.
        spec: settings with host and token.
        refuse: application that returns the page that asks for the token.
    """

    def __init__(self, app: ASGIApp, spec: BrowseSpec, refuse: ASGIApp) -> None:
        self._app = app
        self._spec = spec
        self._refuse = refuse
        self._secret = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = await self._answer(scope, receive)
        await (answer or self._app)(scope, receive, send_guarded)

    async def _answer(self, scope: Scope, receive: Receive) -> ASGIApp | None:
        """Returns what answers the request instead of the page, None for the page itself."""
        headers = Headers(scope=scope)
        if not self._host_allowed(headers.get("host", "")):
            return PlainTextResponse("this page is served under another name; open the address that was printed\n", 421)
        token = self._spec.token
        scope[GUARDED] = token is not None
        if scope["method"] == "POST" and scope["path"] == TOKEN_PATH and token is not None:
            return await self._log_in(Request(scope, receive), token)
        if scope["method"] == "POST" and NOTES_PATH.fullmatch(scope["path"]) and self._spec.notes is not None:
            if not _from_here(headers) or int(headers.get("content-length", _LONGEST_BODY)) >= _LONGEST_BODY:
                return PlainTextResponse("a note comes from this page, as short JSON\n", 403)
        elif scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("this server only reads; use GET\n", 405, headers={"Allow": "GET, HEAD"})
        if token is None or self._has_cookie(scope):
            return None
        bearer = headers.get("authorization", "").partition("Bearer ")[2]
        if bearer and _same(bearer, token):
            return None
        shown = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get(_PARAMETER)
        if shown is not None and _same(shown, token):
            return self._welcome(_without_token(scope), scope["scheme"])
        if bearer or shown is not None:
            await asyncio.sleep(WRONG_SECONDS)
        scope[NEXT] = _local(_without_token(scope))
        return self._refuse

    async def _log_in(self, request: Request, token: str) -> ASGIApp:
        body = b""
        try:
            async for part in request.stream():
                body += part
                if len(body) > _LONGEST_BODY:
                    return self._refuse
        except ClientDisconnect:
            return self._refuse
        fields = dict(parse_qsl(body.decode("latin-1")))
        request.scope[NEXT] = target = _local(fields.get(NEXT, "/"))
        if LEAVE in fields:
            answer = RedirectResponse("/", 303)
            answer.delete_cookie(self._cookie, path="/")
            return answer
        if _same(fields.get(_PARAMETER, ""), token):
            return self._welcome(target, request.scope["scheme"])
        await asyncio.sleep(WRONG_SECONDS)
        return self._refuse

    def _welcome(self, target: str, scheme: str) -> Response:
        answer = RedirectResponse(target, 303)
        # Not "strict": links in reports and in Prefect lead here from other sites, and no request changes anything.
        # Behind a TLS proxy on this machine the scheme is https, by its X-Forwarded-Proto.
        secure = scheme == "https"
        answer.set_cookie(
            self._cookie, self._secret, _COOKIE_SECONDS, path="/", secure=secure, httponly=True, samesite="lax"
        )
        return answer

    def _has_cookie(self, scope: Scope) -> bool:
        return _same(Request(scope).cookies.get(self._cookie, ""), self._secret)

    @property
    def _cookie(self) -> str:
        # Cookies ignore ports, so the name keeps apart two servers on one host.
        return f"advkd-browse-{self._spec.port}"

    def _host_allowed(self, host: str) -> bool:
        """Returns whether a host name is allowed; on the loopback, other names may be an attack (DNS rebinding)."""
        if not self._spec.loopback:
            return True
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        return name.lower() in _LOCAL_NAMES | {self._spec.host.lower()}


def _from_here(headers: Headers) -> bool:
    """Returns whether a request comes from a page of this server: browsers ask before other sites send JSON."""
    site = headers.get("sec-fetch-site", "same-origin")
    return headers.get("content-type", "") == "application/json" and site == "same-origin"


def _same(shown: str, expected: str) -> bool:
    return hmac.compare_digest(shown.encode(), expected.encode())


def _local(target: str) -> str:
    """Returns a target if it is a path of this server, `/` if a browser might take it for another place."""
    plain = target.isascii() and target.isprintable() and "\\" not in target and " " not in target
    fits = target.startswith("/") and not target.startswith("//") and len(target) <= _LONGEST_NEXT
    return target if plain and fits else "/"


def _without_token(scope: Scope) -> str:
    kept = [pair for pair in parse_qsl(scope["query_string"].decode("latin-1")) if pair[0] != _PARAMETER]
    # A path that starts with two slashes would lead to another host.
    path = "/" + str(scope["path"]).lstrip("/")
    return path + (f"?{urlencode(kept)}" if kept else "")
