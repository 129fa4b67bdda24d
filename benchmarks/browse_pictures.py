"""`python -m benchmarks.browse_pictures ROOT --student PLACE`: screenshots for `docs/browse.md`, in a real Chromium.

The first store below the root is shown; it should be sealed, and the student one that was trained on it. A growing and
a damaged store are made of its first shards for a while, in `runs/pictures`: pages show where stores are.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.measure import DOCS, progress
from storage import (
    TrajectorySpec,
    digest,
    join,
    list_stores,
    open_store,
    open_writer,
    read_bytes,
    seal,
    store_uri,
    write_bytes,
)
from storage.records.commits import read_commit
from tests.advkd.browse.served import ARGUMENTS, chromium, served

PATIENCE_MS = 90_000
_SETTLED = "() => !window.advkdWall || window.advkdWall.settled"
_MOST_SHARDS = 6
_FOLDER = "runs/pictures"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--student", required=True)
    chosen = parser.parse_args()
    shutil.rmtree(_FOLDER, ignore_errors=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        uri = list_stores(chosen.root)[0].uri
        growing, damaged = _spoilt(uri, _FOLDER)
        spec = open_store(uri).manifest.spec
        name = digest(spec)[:16]
        with served(chosen.root, _FOLDER, "--student", chosen.student) as address:
            views = {
                "list": ("/", "light"),
                "store": (f"/s/{name}", "dark"),
                "gallery": (f"/s/{name}/gallery", "dark"),
                "triage": (f"/s/{name}/gallery?by=distance:0&flags=3,17,40", "light"),
                "map": (f"/s/{name}/map?student=0", "light"),
                "phone": (f"/s/{name}/gallery?by=distance:0", "dark"),
                "sample": (f"/s/{name}/sample/5?t={spec.timesteps[-2]}", "light"),
                "compare": (f"/s/{name}/gallery?with={name}~0", "light"),
                "error": (f"/s/{name}/sample/999999999", "light"),
                "growing": (f"/s/{growing}", "light"),
                "damaged": (f"/s/{damaged}/gallery?at={spec.shard_samples - 20}", "light"),
            }
            for view, (path, scheme) in views.items():
                _shoot(browser, address + path, scheme, view)
        (Path(_FOLDER) / "empty").mkdir()
        with served(join(_FOLDER, "empty")) as address:
            _shoot(browser, address, "light", "empty")
        browser.close()
    shutil.rmtree(_FOLDER)


def _spoilt(uri: str, root: str) -> tuple[str, str]:
    """Names of a store with holes that grows, and of a sealed one with a damaged shard."""
    source = open_store(uri)
    shards = min(_MOST_SHARDS, source.manifest.num_shards)
    spec = source.manifest.spec
    growing, damaged = (replace(spec, solver_steps=spec.solver_steps + extra) for extra in (1, 2))
    for one, kept in ((growing, set(range(shards)) - {1, shards - 1}), (damaged, set(range(shards)))):
        _copy(uri, root, one, sorted(kept))
    there = open_store(uri).manifest.shards.keys(1)[0]
    write_bytes(join(store_uri(root, growing), there), b"the first bytes")
    seal(root, damaged, shards * spec.shard_samples)
    for key in source.manifest.shards.keys(1):
        address = join(store_uri(root, damaged), key)
        data = bytearray(read_bytes(address))
        data[: len(data) // 2] = bytes(len(data) // 2)
        write_bytes(address, bytes(data))
    return digest(growing)[:16], digest(damaged)[:16]


def _copy(uri: str, root: str, spec: TrajectorySpec, shards: list[int]) -> None:
    source, writer = open_store(uri), open_writer(root, spec)
    for shard in shards:
        writer.copy_shard(source.read_stored(shard), replace(read_commit(uri, shard), digest=digest(spec)))


def _shoot(browser: Browser, address: str, scheme: str, view: str) -> None:
    width, height = (390, 780) if view == "phone" else (1200, 720)
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page: Page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    page.wait_for_function(_SETTLED)
    page.wait_for_function("() => !/…$/.test(document.getElementById('status')?.textContent ?? '')")
    page.wait_for_load_state("networkidle")
    if view == "triage":
        page.locator("#tray summary b").click()
    page.wait_for_timeout(2500)
    page.screenshot(path=DOCS / "images" / f"browse-{view}.png")
    progress(f"browse-{view}.png")
    context.close()


if __name__ == "__main__":
    main()
