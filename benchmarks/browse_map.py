"""The map of samples and the list of many stores, in a real Chromium: first paint, frames while panning, first rows."""

import time
from concurrent.futures import ThreadPoolExecutor

from playwright.sync_api import sync_playwright

from storage.testing.trajectories import fill, make_spec
from tests.advkd.browse.served import ARGUMENTS, chromium

_PAN = """
(seconds) => new Promise((done) => {
  const canvas = document.getElementById("map");
  const box = canvas.getBoundingClientRect();
  const send = (kind, x, y) => canvas.dispatchEvent(new PointerEvent(kind, {
    pointerId: 1, clientX: box.left + x, clientY: box.top + y, bubbles: true,
  }));
  canvas.setPointerCapture = () => {};
  send("pointerdown", 400, 300);
  const began = performance.now();
  const painted = window.advkdMap.painted;
  let step = 0;
  const next = () => {
    const passed = (performance.now() - began) / 1000;
    if (passed >= seconds) { send("pointerup", 400, 300); return done((window.advkdMap.painted - painted) / passed); }
    step += 1;
    send("pointermove", 400 + 150 * Math.sin(step / 9), 300 + 90 * Math.cos(step / 9));
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})
"""
_SHOWN = "(count) => window.advkdMap?.found.samples.length === count && window.advkdMap.painted > 0"


def map_figures(address: str, samples: int, seconds: float) -> tuple[float, float]:
    """Seconds from opening the map to its first painting, and how often a second it is painted while it is panned."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto("about:blank")
        began = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.wait_for_function(_SHOWN, arg=samples, timeout=60_000)
        first = time.perf_counter() - began
        frames = float(page.evaluate(_PAN, seconds))
        browser.close()
    return first, frames


def rows_figures(address: str, stores: int) -> tuple[float, float]:
    """Seconds from opening the list to its first rows, and to all of them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        # Pictures of the first samples are asked for beside the rows, and are not counted.
        blocking = page.context.new_cdp_session(page)
        blocking.send("Network.enable")
        blocking.send("Network.setBlockedURLs", {"urls": ["*/api/sheet/*"]})
        page.goto("about:blank")
        began = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.locator("#stores tbody tr").first.wait_for(timeout=60_000)
        first = time.perf_counter() - began
        page.wait_for_function(
            "(count) => document.querySelectorAll('#stores tbody tr').length === count", arg=stores, timeout=120_000
        )
        whole = time.perf_counter() - began
        browser.close()
    return first, whole


def fill_many(root: str, stores: int) -> None:
    """Small stores of one teacher, told apart by their seeds."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: fill(root, make_spec(sample_shape=(1, 8, 8), base_seed=seed), 8), range(stores)))
