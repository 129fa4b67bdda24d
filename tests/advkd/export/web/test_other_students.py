"""Pages of students that take prompts, and of latents: what the browser makes is what ONNX Runtime in Python makes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from advkd.export.onnx.running import Student
from tests.advkd.export.onnx.subjects import TEXTS, save_latent, save_prompted
from tests.advkd.export.web.conftest import export_page
from tests.advkd.export.web.test_chromium_page import DRAWN, Watched


@pytest.mark.slow
@pytest.mark.parametrize(("name", "save"), [("prompted", save_prompted), ("latents", save_latent)])
def test_the_browser_makes_the_images_of_python(
    name: str, save: Callable[[Path], Path], pages: Path, runtime: Path, address: str, browser: Browser
) -> None:
    export_page(save(pages / f"student-{name}"), pages / name, runtime)
    context = browser.new_context(viewport={"width": 1000, "height": 600})
    seen = Watched(context.new_page(), f"{address}{name}/")
    page = seen.open("#seed=3")
    page.wait_for_function(DRAWN)
    expected = Student(pages / name).images(4, seed=3)
    assert_same(seen.make([{"seed": "3", "index": i} for i in range(4)])["images"], expected)
    if name == "prompted":
        assert_same(
            seen.make([{"seed": "3", "index": i} for i in range(4)], 2)["images"],
            Student(pages / name).images(4, seed=3, prompt=TEXTS[2]),
        )
        options = page.locator("#condition option").all_text_contents()
        assert [text for text in options if text in TEXTS] == list(TEXTS)
    page = seen.open("#view=layers&seed=3&image=1")
    expect(page.locator("#layers canvas").first).to_be_visible()
    context.close()
    assert seen.complaints == []
    shutil.rmtree(pages / name)


def assert_same(made: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.reshape(made, expected.shape), expected, rtol=0, atol=1e-5)
