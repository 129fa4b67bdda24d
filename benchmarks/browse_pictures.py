"""`python -m benchmarks.browse_pictures ROOT --student FOLDER`: screenshots for `docs/browse.md`, in a real Chromium.

The first store below the root is shown; it should be sealed, and the student one that was trained on it.
"""

import argparse

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.measure import DOCS, progress
from tests.browse.served import ARGUMENTS, chromium, served

PATIENCE_MS = 90_000
_SETTLED = "() => !window.advkdWall || window.advkdWall.settled"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--student", required=True)
    chosen = parser.parse_args()
    with served(chosen.root, "--student", chosen.student) as address, sync_playwright() as playwright:
        name = httpx.get(f"{address}/api/stores", timeout=60).json()["stores"][0]["name"]
        views = {
            "list": ("/", "light"),
            "store": (f"/s/{name}", "dark"),
            "gallery": (f"/s/{name}/gallery", "dark"),
            "sample": (f"/s/{name}/sample/5?t=199", "light"),
            "compare": (f"/compare?left={name}&right={name}~0", "light"),
        }
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        for view, (path, scheme) in views.items():
            _shoot(browser, address + path, scheme, view)
        browser.close()


def _shoot(browser: Browser, address: str, scheme: str, view: str) -> None:
    context = browser.new_context(
        viewport={"width": 1200, "height": 720},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page: Page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    page.wait_for_function(_SETTLED)
    page.wait_for_function("() => !/…$/.test(document.getElementById('status')?.textContent ?? '')")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2500)
    page.screenshot(path=DOCS / "images" / f"browse-{view}.png")
    progress(f"browse-{view}.png")
    context.close()


if __name__ == "__main__":
    main()
