"""Who may ask for what: only named stores, only reading, only with the token, only under its own name."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from advkd.browse.settings import BrowseSpec
from storage import read_bytes, store_uri
from storage.objects.local import LocalObjects
from storage.objects.s3 import S3Objects
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.specs import image_spec

TOKEN = "correct horse battery"


@pytest.fixture
def store(tmp_path: Path) -> str:
    spec = image_spec()
    fill(str(tmp_path / "stores"), spec, 32)
    (tmp_path / "secret.txt").write_text("MARKED SECRET")
    return store_uri(str(tmp_path / "stores"), spec)


def hostile_names(secret: Path, other: str) -> list[str]:
    """Ways to say a path, or another store, in a URL."""
    plain = [
        "../secret.txt",
        "../../secret.txt",
        str(secret),
        "/etc/passwd",
        "file:///etc/passwd",
        f"file://{secret}",
        "s3://other-bucket/stores",
        other,
        Path(other).name,
        "%2e%2e",
        "~root",
        "C:\\windows",
        "a\x00b",
        "*",
        "78774e97c9801291/../../..",
        "é" * 16,
        "a" * 5000,
    ]
    encoded = [quote(name, safe="") for name in plain]
    return [*encoded, *(quote(name, safe="") for name in encoded)]


@pytest.mark.thorough
def test_no_url_leads_to_a_path_or_another_store(
    store: str, tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = image_spec(base_seed=99)
    fill(str(tmp_path / "elsewhere"), other, 32)
    client = opened(store)
    client.get("/")
    asked: list[str] = []
    for method in ("read", "read_range", "read_into", "exists", "entries", "level"):
        original = getattr(LocalObjects, method)

        def seen(self: LocalObjects, path: str, *rest: Any, original: Any = original) -> Any:
            asked.append(path)
            return original(self, path, *rest)

        monkeypatch.setattr(LocalObjects, method, seen)
    monkeypatch.setattr(S3Objects, "_open", lambda self: asked.append("s3"))
    routes = [
        "/s/{}", "/s/{}/gallery", "/s/{}/sample/0", "/s/{}/export.npz?samples=0", "/api/sheet/{}?samples=0-1",
        "/api/stores/{}/strip/0", "/api/stores/{}/order?by=norm", "/api/stores/{}/state",
        "/api/stores/{}/histograms", "/s/{}/gallery?with={}", "/api/stores/{}/order?by=distance&to={}",
        "/static/{}", "/{}",
        "/api/sheet/{}?less={}&samples=0-1",
    ]  # fmt: skip
    hostile = hostile_names(tmp_path / "secret.txt", store_uri(str(tmp_path / "elsewhere"), other))
    for route in routes:
        for name in hostile:
            answer = client.get(route.replace("{}", name))
            assert answer.status_code in (400, 404, 405), (route, name, answer.status_code)
            assert "MARKED SECRET" not in answer.text
            assert "root:" not in answer.text
    assert client.get(f"/api/sheet/{Path(store).name}?samples=0-1").status_code == 200
    assert [path for path in asked if path.startswith(store)]
    assert [path for path in asked if not path.startswith(store)] == []


def status_of_raw(app: Any, path: str) -> tuple[int, bytes]:
    """As a client would send it that resolves no dots."""
    # A browser of other tests may have a loop in this thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _raw(app, path)).result()


async def _raw(app: Any, path: str) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "", "server": ("127.0.0.1", 80)}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize(
    "path",
    [
        "/static/../settings.py",
        "/static/../../../secret.txt",
        "/static//etc/passwd",
        "/static/..",
        "/s/..",
        "/s/../../secret.txt",
        "/s/../gallery",
        "//etc/passwd",
        "/api/sheet/..",
        "/api/stores/../state",
    ],
)
def test_dots_lead_nowhere(store: str, opened: Opened, path: str) -> None:
    status, body = status_of_raw(opened(store).app, path)
    assert status == 404
    assert b"BrowseSpec" not in body
    assert b"MARKED" not in body


@pytest.mark.parametrize("sample", ["-1", "32", "1e3", "0x1", "%2e%2e", "9" * 40, "٣", "1_0", " 1"])
def test_a_sample_is_a_number_in_range(store: str, opened: Opened, sample: str) -> None:
    client, name = opened(store), Path(store).name
    for route in (f"/s/{name}/sample/{sample}", f"/api/stores/{name}/strip/{sample}"):
        answer = client.get(route)
        assert answer.status_code == 404, route
        assert sample == "%2e%2e" or "shows samples 0 to 31, got" in answer.text
    if sample != " 1":
        assert client.get(f"/s/{name}/sample", params={"i": sample}).status_code == 404


@pytest.mark.parametrize(("typed", "sample"), [("5", 5), (" 1", 1), ("31 ", 31), ("1,0", 10), ("007", 7)])
def test_a_number_may_be_typed_as_people_do(store: str, opened: Opened, typed: str, sample: int) -> None:
    answer = opened(store).get(f"/s/{Path(store).name}/sample", params={"i": typed})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/s/{Path(store).name}/sample/{sample}")


def test_a_slash_too_many_leads_to_no_other_host(store: str, opened: Opened) -> None:
    answer = opened(store, token=TOKEN, host="cluster.example").get(
        f"/s/{Path(store).name}/", headers={"host": "evil.example", "authorization": f"Bearer {TOKEN}"}
    )
    assert answer.status_code == 404
    assert "location" not in answer.headers


def test_a_wrong_number_leads_back_to_its_gallery(store: str, opened: Opened) -> None:
    client, name = opened(store), Path(store).name
    client.get("/")
    back = f'<a href="/s/{name}/gallery">'
    assert back in client.get(f"/s/{name}/sample?i=99999").text
    assert back in client.get(f"/s/{name}/sample/99999").text
    assert "/gallery" not in client.get("/s/0123456789abcdef/sample/0").text


def test_a_bad_order_is_told_in_words(store: str, opened: Opened) -> None:
    message = opened(store).get(f"/api/stores/{Path(store).name}/order?by=size").json()["error"]["message"]
    assert message.startswith("by must be one of number, norm, brightness, contrast, distance, got 'size';")


def test_it_only_reads(store: str, opened: Opened) -> None:
    client, name = opened(store), Path(store).name
    before = {path: read_bytes(str(path)) for path in Path(store).rglob("*") if path.is_file()}
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        for route in ("/", f"/s/{name}", f"/api/stores/{name}/state", "/token"):
            assert client.request(method, route).status_code == 405
    for route in ("", "/gallery", "/sample/3", "/export.gif?samples=3"):
        assert client.get(f"/s/{name}{route}").status_code == 200
    assert {path: read_bytes(str(path)) for path in Path(store).rglob("*") if path.is_file()} == before


def test_every_answer_has_the_headers_and_no_page_has_inline_code(store: str, opened: Opened) -> None:
    client, name = opened(store), Path(store).name
    pages = [
        "/",
        f"/s/{name}",
        f"/s/{name}/gallery",
        f"/s/{name}/sample/0",
        f"/s/{name}/gallery?with={name}",
        "/nothing",
        f"/s/{name}/sample/99",
    ]
    for route in [
        *pages,
        "/static/wall.js",
        f"/api/sheet/{name}?samples=0-3",
        "/api/nothing",
    ]:
        answer = client.get(route)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "no-referrer"
    for route in pages:
        text = client.get(route).text
        assert " style=" not in text
        assert "<style" not in text
        assert "javascript:" not in text
        assert not [word for word in text.split() if word.startswith("on") and "=" in word]
        assert all(" src=" in tag for tag in text.split("<script")[1:])
        assert "http://" not in text
        assert "https://" not in text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "10.0.0.1:8765"])
def test_other_names_for_the_loopback_are_refused(store: str, opened: Opened, host: str) -> None:
    client = opened(store)
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "mixture" not in answer.text
    for good in ("127.0.0.1:8765", "localhost:1234", "[::1]:8765"):
        assert client.get("/", headers={"host": good}).status_code == 200


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"uris": ()}, "must name a store"),
        ({"host": "0.0.0.0"}, "that other machines can reach needs a token"),
        ({"host": "::"}, "needs a token"),
        ({"host": "cluster.example"}, "needs a token"),
        ({"token": "short"}, "16 or more ASCII characters, got 5"),
        ({"port": 70000}, r"must lie in \[0, 65535\], got 70000"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BrowseSpec(**({"uris": ("stores",)} | settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_the_loopback_needs_no_token(host: str) -> None:
    assert BrowseSpec(uris=("stores",), host=host).loopback
