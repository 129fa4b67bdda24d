"""`advkd demo`: serves a page's folder and nothing else, on the loopback alone, until Ctrl-C."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from advkd.cli.page_app import page_app
from advkd.export.web import writing
from tests.reaper import die_with_parent

STATIC = Path(writing.__file__).with_name("static")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    (folder / "page").mkdir(parents=True)
    for name in ("index.html", "page/app.mjs"):
        (folder / name).write_bytes((STATIC / name).read_bytes())
    (folder / "page.json").write_text('{"teacher": null}')
    (folder / "model.onnx").write_bytes(b"network")
    (folder / "a.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


@pytest.fixture
def client(page: Path) -> TestClient:
    return TestClient(page_app(page), base_url="http://127.0.0.1:8000")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/page/app.mjs", "text/javascript; charset=utf-8"),
        ("/page.json", "application/json"),
        ("/a.wasm", "application/wasm"),
        ("/model.onnx", "application/octet-stream"),
    ],
)
def test_files_have_the_types_that_browsers_ask_for(client: TestClient, path: str, kind: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-embedder-policy"] == "require-corp"


def test_part_of_a_file_can_be_asked_for(client: TestClient) -> None:
    answer = client.get("/model.onnx", headers={"Range": "bytes=1-3"})
    assert (answer.status_code, answer.content) == (206, b"etw")


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/page/..%2f..%2fsecret.txt", "//etc/passwd", "/link.txt", "/page"]
)
def test_nothing_outside_of_the_folder_is_served(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code in (307, 404)
    assert b"secret" not in answer.content


def test_it_is_read_only_and_by_its_own_name(client: TestClient) -> None:
    assert client.put("/index.html", content=b"").status_code == 405
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.thorough
def test_the_command_serves_a_page_until_it_is_interrupted(page: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "advkd", "demo", str(page), "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
        preexec_fn=die_with_parent,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:")
    assert urllib.request.urlopen(f"{address}model.onnx", timeout=60).read() == b"network"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) in ((0, ""), (130, "")), err
