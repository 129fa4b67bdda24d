"""A report on a phone, in a real browser: its pictures come soon, and nothing scrolls sideways."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.advkd.browse.site import opened_browser
from tests.advkd.evaluation.parts import Evaluated


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_first_picture_without_much_scrolling(
    browser: Browser, evaluated: Evaluated, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto((evaluated.folder / "report.html").as_uri())
    top = page.evaluate("() => document.querySelector('img').getBoundingClientRect().top")
    assert top < 1.5 * 844
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    context.close()


def test_few_images_have_no_worth_in_the_headline(browser: Browser, evaluated: Evaluated) -> None:
    page = browser.new_page()
    page.goto((evaluated.folder / "report.html").as_uri())
    few = evaluated.spec.samples
    expect(page.locator("h1")).to_have_text(f"Not comparable: {few} images, where a worth needs 2000.")
    page.close()
