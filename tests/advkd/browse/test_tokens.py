"""The token: shown once, then a cookie; nothing is told without it, and it leads nowhere else."""

import html
import queue
import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from advkd.browse.access import WRONG_SECONDS
from advkd.cli.browse import browse_command
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.test_access import status_of_raw, store

__all__ = ["store"]

TOKEN = "correct horse battery"


def hidden(page: str) -> dict[str, str]:
    """Fields of a form that a browser sends unseen."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return {name: html.unescape(value) for name, value in found}


class TestToken:
    """Shown once, then a cookie."""

    def test_without_it_nothing_is_told(self, store: str, opened: Opened) -> None:
        client, name = opened(store, token=TOKEN), Path(store).name
        for route in ("/", f"/s/{name}", f"/s/{name}/sample/0", f"/s/{name}/map", "/?token=wrong", "/?token="):
            answer = client.get(route)
            assert answer.status_code == 401
            assert "Token" in answer.text
            assert name not in answer.text.replace(route, "")
            assert "set-cookie" not in answer.headers
        for route in (
            f"/api/sheet/{name}?samples=0-3",
            "/static/wall.js",
            f"/s/{name}/export.npz?samples=0",
        ):
            assert client.get(route).status_code == 401
        assert client.get("/static/style.css").status_code == 200

    def test_once_in_the_address_then_a_cookie(self, store: str, opened: Opened) -> None:
        client, name = opened(store, token=TOKEN), Path(store).name
        answer = client.get(f"/s/{name}/gallery", params={"t": "500", "token": TOKEN, "size": "32"})
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/s/{name}/gallery?t=500&size=32"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=lax" in cookie.lower()
        assert TOKEN not in cookie
        assert quote(TOKEN) not in cookie
        assert client.get("/").status_code == 200
        other = opened(store, token=TOKEN)
        other.cookies.set("advkd-browse-8765", "guessed")
        assert other.get("/").status_code == 401

    def test_by_the_form_and_by_header(self, store: str, opened: Opened) -> None:
        client = opened(store, token=TOKEN)
        assert client.post("/token", data={"token": "wrong"}).status_code == 401
        assert client.post("/token", data={"token": "x" * 10_000}).status_code == 401
        assert client.get("/").status_code == 401
        assert client.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.get("/", headers={"authorization": "Bearer wrong"}).status_code == 401
        answer = client.post("/token", data={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert client.get("/").status_code == 200

    def test_the_form_leads_to_the_page_that_was_asked_for(self, store: str, opened: Opened) -> None:
        client, name = opened(store, token=TOKEN), Path(store).name
        asked = f"/s/{name}/gallery?t=500&by=norm"
        fields = hidden(client.get(asked + "&token=wrong").text)
        assert fields == {"next": asked}
        refused = client.post("/token", data=fields | {"token": "wrong"})
        assert hidden(refused.text) == fields
        answer = client.post("/token", data=fields | {"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, asked)
        assert client.get(asked).status_code == 200

    @pytest.mark.parametrize(
        "target",
        [
            "//evil.example/",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "evil.example",
            "",
            "/\t/evil.example",
            "/\r\nSet-Cookie: a=b",
            "/\x00",
            "/é",
            " //evil.example",
            "/" + "a" * 3000,
        ],
    )
    def test_the_form_leads_nowhere_else(self, store: str, opened: Opened, target: str) -> None:
        answer = opened(store, token=TOKEN).post("/token", data={"token": TOKEN, "next": target})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")

    @pytest.mark.parametrize("name", ["nothing.css", "nothing.svg", "../app.py", "", "wall.js"])
    def test_other_files_are_not_there_without_it(self, store: str, opened: Opened, name: str) -> None:
        app = opened(store, token=TOKEN).app
        assert status_of_raw(app, f"/static/{name}")[0] == 401

    def test_the_cookie_ends_and_can_be_given_up(self, store: str, opened: Opened) -> None:
        client = opened(store, token=TOKEN)
        cookie = client.post("/token", data={"token": TOKEN}).headers["set-cookie"].lower()
        assert "max-age=2592000" in cookie
        assert "secure" not in cookie
        assert 'name="leave"' in client.get("/").text
        client.post("/token", data={"leave": "1"})
        assert client.get("/").status_code == 401
        client.base_url = "https://127.0.0.1:8765"
        assert "; secure" in client.post("/token", data={"token": TOKEN}).headers["set-cookie"].lower()
        assert 'name="leave"' not in opened(store).get("/").text

    def test_a_wrong_one_takes_its_time(self, store: str, opened: Opened) -> None:
        client = opened(store, token=TOKEN)
        wrong = (
            lambda: client.post("/token", data={"token": "wrong"}),
            lambda: client.get("/?token=wrong"),
            lambda: client.get("/", headers={"authorization": "Bearer wrong"}),
        )
        for ask in wrong:
            began = time.monotonic()
            assert ask().status_code == 401
            assert time.monotonic() - began >= WRONG_SECONDS

    def test_no_command_line_shows_it(self, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
        shown: queue.Queue[str] = queue.Queue()
        monkeypatch.setattr("webbrowser.open", shown.put)
        monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
        browse_command([store], port=0, token=TOKEN)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", shown.get(timeout=60))

    def test_the_way_back_stays_on_this_host(self, store: str, opened: Opened) -> None:
        answer = opened(store, token=TOKEN).get(f"http://127.0.0.1:8765//evil.example/?token={quote(TOKEN)}")
        assert answer.headers["location"] == "/evil.example/"
