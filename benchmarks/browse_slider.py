"""Frames per second of the gallery's wall while its slider is dragged, in a real Chromium."""

from playwright.sync_api import sync_playwright

from tests.advkd.browse.served import ARGUMENTS, chromium

_DRAG = """
(seconds) => new Promise((done) => {
  const slider = document.getElementById("time");
  const wall = window.advkdWall;
  const began = performance.now();
  const painted = wall.painted;
  let step = 0;
  const next = () => {
    const passed = (performance.now() - began) / 1000;
    if (passed >= seconds) return done((wall.painted - painted) / passed);
    step += 1;
    slider.value = step % (Number(slider.max) + 1);
    slider.dispatchEvent(new Event("input"));
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})
"""
_LOADED = "() => window.advkdWall.settled"


def frames_per_second(address: str, seconds: float) -> float:
    """How often the wall of 1280 x 800 is drawn per second, another timestep each time, once its sheets are there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.wait_for_function(_LOADED, timeout=60_000)
        frames = float(page.evaluate(_DRAG, seconds))
        browser.close()
    return frames
