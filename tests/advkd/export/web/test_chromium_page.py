"""The page in a real Chromium: the images are torch's, whatever a person presses."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Error, Page, expect

from advkd.evaluation import teacher_images
from advkd.students import load_student
from storage.records import condition_generator, initial_noise

PATIENCE_MS = 120_000
DRAWN = (
    "() => window.advkd?.views.wall.drawn !== undefined && window.advkd.views.wall.drawn === window.advkd.state.seed"
)
MAKE = """async ([starts, condition, states]) => {
  const start = ({ seed, towards, ...rest }) => ({ ...rest, seed: BigInt(seed), towards: (towards ?? []).map(start) });
  const made = await window.advkd.student.make(starts.map(start), condition, states);
  return { images: [...made.images], states: (made.states ?? []).map((each) => [...each]) };
}"""

BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"


class Watched:
    """A page of the labelled student that stays open for several tests, and what it asked for or complained of."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def open(self, link: str = "") -> Page:
        self.page.goto(f"{self.address}{link}")
        self.page.wait_for_function("() => window.advkd?.first > 0 || !document.querySelector('#trouble').hidden")
        return self.page

    def make(self, starts: list[dict[str, Any]], condition: int | None = None, states: bool = False) -> dict[str, Any]:
        return self.page.evaluate(MAKE, [starts, condition, states])


@pytest.fixture(scope="module")
def watched(browser: Browser, address: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1000, "height": 600}, color_scheme="light")
    seen = Watched(context.new_page(), f"{address}labelled/")
    seen.open("#seed=3")
    seen.page.wait_for_function(DRAWN)
    yield seen
    context.close()
    assert seen.complaints == []


@pytest.fixture(scope="module")
def student(pages: Path) -> Any:
    return load_student(pages / "student")


def sampled(student: Any, seed: int, count: int, label: int | None = None) -> np.ndarray:
    labels = [int(condition_generator(seed, i).integers(3)) if label is None else label for i in range(count)]
    images = student.sample(count, seed=seed, class_labels=torch.tensor(labels)).images
    return (images / 2 + 0.5).clamp(0, 1).numpy()


@pytest.mark.parametrize(("seed", "label"), [(3, None), (3, 2), (2**63 - 1, None)])
def test_images_of_seed_and_index_are_those_of_sample(
    watched: Watched, student: Any, seed: int, label: int | None
) -> None:
    made = watched.make([{"seed": str(seed), "index": i} for i in range(5)], label)["images"]
    np.testing.assert_allclose(np.reshape(made, (5, 1, 8, 8)), sampled(student, seed, 5, label), rtol=0, atol=1e-5)


def test_a_condition_that_a_student_does_not_know_is_refused(watched: Watched) -> None:
    with pytest.raises(Error, match="a condition must be one of 0 to 2, got 3; choose one of the list"):
        watched.make([{"seed": "3", "index": 0}], 3)


def test_the_wall_shows_them_and_each_key_makes_it_anew(watched: Watched, student: Any) -> None:
    page = watched.open("#seed=3")
    for seed, key in ((3, None), (4, "Space"), (5, "x"), (4, "ArrowLeft")):
        if key is not None:
            page.keyboard.press(key)
        page.wait_for_function(f"() => window.advkd.views.wall.drawn === {seed}n")
        expected = sampled(student, seed, 5)[4, 0]
        np.testing.assert_allclose(tile(page, 4), 255 * expected, atol=1)
        expect(page.locator("#speed")).to_have_text(re.compile(r"^\d+ images in \d+\.\d\d s: \d+ images/s$"))
        expect(page).to_have_url(re.compile(f"#view=wall&seed={seed}&image=0$"))
    page.locator("#wall canvas").click(position={"x": 8, "y": 8})
    expect(page.locator("#image")).to_be_visible()


def tile(page: Page, index: int) -> np.ndarray:
    """The pixels of a tile of the wall, `[8, 8]`, read at their middles."""
    read = page.evaluate(
        """(index) => {
          const wall = window.advkd.views.wall;
          const pen = wall.root.querySelector("canvas").getContext("2d");
          const [x, y] = wall.place(index);
          const at = (k) => Math.floor(((k + 0.5) * wall.tile) / 8);
          return Array.from({ length: 64 }, (_, k) => pen.getImageData(x + at(k % 8), y + at(k >> 3), 1, 1).data[0]);
        }""",
        index,
    )
    return np.reshape(read, (8, 8))


def test_sliders_go_towards_other_seeds_on_the_sphere(watched: Watched, student: Any) -> None:
    page = watched.open("#view=image&seed=7&image=2&condition=1")
    slider = page.locator("input[type=range]").first
    slider.focus()
    slider.evaluate("(input) => { input.value = 0.25; input.dispatchEvent(new Event('input')); }")
    expect(page).to_have_url(re.compile(r"condition=1&mix=0\.25,0,0$"))
    page.wait_for_function("() => window.advkd.views.image.images && !document.querySelector('#image').hidden")
    here, there = (torch.from_numpy(initial_noise(seed, 2, 3, (1, 8, 8))).double() for seed in (7, 8))
    angle = torch.acos((here * there).sum() / (here.norm() * there.norm()))
    noise = (torch.sin(0.75 * angle) * here + torch.sin(0.25 * angle) * there) / torch.sin(angle)
    with torch.no_grad():
        clean = student(noise.float(), class_labels=torch.tensor([1]))
    expected = (clean / 2 + 0.5).clamp(0, 1).numpy().ravel()
    mixed = watched.make([{"seed": 7, "index": 2, "towards": [{"seed": 8, "part": 0.25}]}], 1)
    np.testing.assert_allclose(mixed["images"], expected, rtol=0, atol=1e-5)
    shown = "() => [...window.advkd.views.image.images]"
    page.wait_for_function(f"(expected) => Math.abs(({shown})()[9] - expected) < 1e-5", arg=float(expected[9]))
    np.testing.assert_allclose(page.evaluate(shown), expected, rtol=0, atol=1e-5)
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("p")
    expect(page.locator("#play")).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("() => window.advkd.state.parts[0] !== 0.25 && window.advkd.views.image.framesPerSecond > 0")
    page.keyboard.press("p")
    expect(page.locator("#play")).to_have_attribute("aria-pressed", "false")


def test_layers_are_the_clean_estimates_of_all_submodules(watched: Watched, student: Any) -> None:
    page = watched.open("#view=layers&seed=3&condition=0")
    page.wait_for_function("() => window.advkd.views.layers.estimates?.length === 3")
    expect(page.locator("#layers th")).to_have_text([re.compile(title) for title in ("noise", "799", "399", "t = 0")])
    noise = torch.from_numpy(initial_noise(3, 0, 4, (1, 8, 8)))
    states = student.predictions(noise, class_labels=torch.zeros(4, dtype=torch.int64))
    pairs = zip(student.coefficients.skip, student.coefficients.gain, states, strict=True)
    for k, (skip, gain, state) in enumerate(pairs):
        shown = page.evaluate("(k) => [...window.advkd.views.layers.estimates[k]]", k)
        expected = ((state - skip * noise) / gain).detach().numpy().ravel()
        np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-3)
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(re.compile("image=1"))


def test_a_label_is_chosen_by_name(watched: Watched) -> None:
    page = watched.open("#view=image&seed=3")
    expect(page.locator("#condition")).to_contain_text("label")
    page.locator("#condition select").select_option("fox")
    expect(page).to_have_url(re.compile("condition=2"))
    page.locator("#condition select").select_option("drawn")
    expect(page).to_have_url(re.compile("image=0$"))


def test_it_asks_no_other_host_and_goes_on_without_a_network(watched: Watched, pages: Path) -> None:
    assert {url for url in watched.requests if not url.startswith((watched.address, "data:"))} == set()
    page = watched.open("#view=wall&seed=0")
    page.wait_for_function(DRAWN)
    told = page.evaluate("() => [window.advkd.download, window.advkd.first, window.advkd.student.backend]")
    folder = pages / "labelled"
    sent = ["index.html", "page.json", "metadata.json", "model.onnx", "advkd_noise.mjs"]
    own = sum(
        (folder / name).stat().st_size for name in [*sent, *(f"page/{p.name}" for p in (folder / "page").iterdir())]
    )
    assert told[0]["own"] == own < 200_000
    assert 14e6 < told[0]["runtime"] < 15e6
    assert told[1] > 0
    assert told[2] == "wasm"
    expect(page.locator("#cost")).to_contain_text(
        re.compile(r"Download 0\.\d\d MB and 14\.3 MB of ONNX Runtime · first image")
    )
    page.context.set_offline(True)
    before = len(watched.requests)
    for key in ("Space", "2", "3", "1"):
        page.keyboard.press(key)
    page.wait_for_function("() => window.advkd.views.wall.drawn === 1n")
    page.context.set_offline(False)
    assert watched.requests[before:] == []


def test_the_snippet_of_the_card_runs_in_a_browser(watched: Watched, student: Any, pages: Path) -> None:
    card = (pages / "labelled" / "README.md").read_text()
    snippet = card.partition("In a browser")[2].partition("```javascript\n")[2].partition("```")[0]
    page = watched.page

    def ran(code: str, name: str) -> Any:
        page.route(f"**/{name}", lambda route: route.fulfill(body=code, content_type="text/javascript"))
        return page.evaluate(
            f"import('./{name}').then(({{ images }}) => [...images.data], (error) => String(error.message ?? error))"
        )

    np.testing.assert_allclose(
        np.reshape(ran(snippet, "snippet.mjs"), (4, 1, 8, 8)), sampled(student, 0, 4, 0), rtol=0, atol=1e-5
    )
    assert "[1, 8, 8]" in snippet
    assert "invalid dimensions" in ran(snippet.replace("[1, 8, 8]", "[1, 8, 9]"), "shape.mjs")
    assert "a batch must hold at least one image, got 0" in ran(snippet.replace("[4, 0,", "[0, 0,"), "none.mjs")


def test_a_phone_shows_all_of_it_and_the_teacher_beside(browser: Browser, address: str, pages: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="light", has_touch=True)
    phone = Watched(context.new_page(), f"{address}taught/")
    page = phone.open("#view=image&image=1")
    expect(page.locator("#image .teacher figcaption")).to_have_text(re.compile("gaussian, .* passes of .*, same noise"))
    drawn = teacher_images("gaussian", load_student(pages / "other"), student_weights=pages / "other", count=2)
    pixels = (255 * drawn.images[1, 0]).round().byte().flatten().tolist()
    read = """() => {
      const canvas = document.querySelector(".teacher canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return [...data].filter((_, k) => k % 4 === 0);
    }"""
    page.wait_for_function(f"(pixels) => String(({read})()) === String(pixels)", arg=pixels)
    for view in ("wall", "image", "layers"):
        page.locator(f"[data-view={view}]").click()
        expect(page.locator(f"#{view}")).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, view
        small = page.evaluate(
            """() => [...document.querySelectorAll("a, button, select, input")]
              .filter((each) => each.offsetParent && each.getBoundingClientRect().height < 44)
              .map((each) => each.outerHTML)"""
        )
        assert small == []
    expect(page.locator("#layers th.teacher")).to_contain_text("gaussian")
    light, dark = "rgb(255, 255, 255)", "rgb(21, 24, 28)"
    assert page.evaluate(BACKGROUND) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(BACKGROUND) == dark
    page.locator("#theme").click()
    assert page.evaluate(BACKGROUND) == light
    assert phone.complaints == []
    context.close()
