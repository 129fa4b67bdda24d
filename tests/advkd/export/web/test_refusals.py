"""What the page says of files that it cannot run, and of browsers that cannot run it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from playwright.sync_api import Browser, Page, expect


def replaced(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def truncated(folder: Path) -> None:
    replaced(folder / "model.onnx", (folder / "model.onnx").read_bytes()[:-100])


def changed(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    replaced(folder / "model.onnx", bytes(content))


def missing(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def without_runtime(folder: Path) -> None:
    (folder / "runtime" / "ort.wasm.min.mjs").unlink()


def other_format(folder: Path) -> None:
    noted = json.loads((folder / "metadata.json").read_text())
    replaced(folder / "metadata.json", json.dumps({**noted, "format": "advkd-onnx-99"}).encode())


def cut_off(folder: Path) -> None:
    replaced(folder / "metadata.json", (folder / "metadata.json").read_bytes()[:-50])


def noted(folder: Path, content: bytes, opset: int) -> None:
    replaced(folder / "model.onnx", content)
    told = json.loads((folder / "metadata.json").read_text())
    told["models"]["fp32"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    replaced(folder / "metadata.json", json.dumps({**told, "opset": opset}).encode())


def newer_opset(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    model.opset_import[0].version = 999
    noted(folder, model.SerializeToString(), 999)


def foreign(folder: Path) -> None:
    noted(folder, b"no network at all", 18)


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One for all: a browser takes a second to open another."""
    opened = browser.new_page()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncated, "must be the one that metadata.json describes, got "),
        (changed, "must be the one that metadata.json describes, got "),
        (missing, "/copied/model.onnx must be served beside this page, got 404; copy the whole folder"),
        (other_format, "must be of the format advkd-onnx-1, got advkd-onnx-99; export it again"),
        (cut_off, "metadata.json must be whole, got a damaged one; export the student again"),
        (newer_opset, "that this page's ONNX Runtime runs, got opset 999 in model.onnx (wasm: "),
        (foreign, "that this page's ONNX Runtime runs, got opset 18 in model.onnx (wasm: "),
        (
            without_runtime,
            "that this page's ONNX Runtime runs, got opset 18 in model.onnx (wasm: Failed to fetch",
        ),
    ],
)
def test_a_spoilt_folder_is_refused_in_a_sentence(
    page: Page, address: str, copied: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(copied)
    page.goto(f"{address}copied/")
    expect(page.locator("#trouble")).to_contain_text(said, timeout=120_000)
    expect(page.locator("#trouble")).to_contain_text("This page cannot show the student: ")
    expect(page.locator("main")).to_be_hidden()


def test_a_browser_without_webassembly_is_told_so(page: Page, address: str) -> None:
    page.add_init_script("delete globalThis.WebAssembly")
    page.goto(f"{address}labelled/")
    expect(page.locator("#trouble")).to_have_text(
        "This page cannot show the student: it needs WebAssembly, and this browser has none; use a newer browser, or "
        "switch WebAssembly on"
    )


def test_without_javascript_it_says_how_it_is_served(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}labelled/")
    expect(page.locator("#trouble")).to_contain_text("needs JavaScript and a file server: advkd demo FOLDER")
    context.close()
