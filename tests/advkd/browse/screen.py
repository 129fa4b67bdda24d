"""What is on the screen, and when all of it is there."""

import numpy as np
from playwright.sync_api import Page


def wall_tile(page: Page, position: int) -> np.ndarray:
    """Pixels of the wall's tile of a rank, as they are on the screen: `[16, 16]`."""
    found = page.evaluate(
        """(rank) => {
          const wall = window.advkdWall;
          const [x, down] = wall.place(rank);
          const pen = wall.canvas.getContext("2d");
          const ratio = devicePixelRatio;
          const y = down - wall.root.scrollTop;
          const size = [wall.tileWidth * ratio, wall.tileHeight * ratio];
          const { data, width } = pen.getImageData(x * ratio, y * ratio, ...size);
          const step = width / 16;
          return Array.from({ length: 256 }, (_, k) => {
            const [row, column] = [Math.floor(k / 16), k % 16];
            return data[4 * (Math.floor((row + 0.5) * step) * width + Math.floor((column + 0.5) * step))];
          });
        }""",
        position,
    )
    return np.array(found, dtype=np.uint8).reshape(16, 16)


def loaded(page: Page) -> None:
    """Until everything that the wall shows is there, at every timestep."""
    twice = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(twice)
    page.wait_for_function("() => window.advkdWall.settled")
    page.evaluate(twice)


def canvas_pixels(page: Page, selector: str) -> np.ndarray:
    """A grey canvas's pixels, `[h, w]`, once there is one."""
    return canvas_colours(page, selector)[..., 0].astype(np.uint8)


def canvas_colours(page: Page, selector: str) -> np.ndarray:
    """A canvas's pixels, `[h, w, 3]`, once there is one."""
    page.locator(selector).wait_for()
    found = page.evaluate(
        """(selector) => {
          const canvas = document.querySelector(selector);
          const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [width, [...data]];
        }""",
        selector,
    )
    return np.array(found[1]).reshape(-1, found[0], 4)[..., :3]
