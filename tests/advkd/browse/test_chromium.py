"""What people do, in a real browser against a real server process over a real S3 server."""

import re
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from advkd.diffusion import conditions_of, drawn_condition
from advkd.students.loading import load_student
from storage import digest
from storage.testing.oracles import shown_states
from tests.advkd.browse.pictures import grey
from tests.advkd.browse.screen import canvas_pixels, loaded, wall_tile
from tests.advkd.browse.site import SAMPLES, Site


def test_the_list_leads_to_stores(site: Site, page: Page) -> None:
    page.goto(site.address)
    rows = page.locator("#stores tbody tr")
    expect(rows).to_have_count(4)
    expect(page.locator(f"[data-store='{site.name}']")).to_contain_text("1,600")
    page.wait_for_function("() => [...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    page.locator("[data-sort=samples] button").click()
    expect(rows.first).to_have_attribute("data-store", site.name)
    page.locator("[data-sort=samples] button").click()
    expect(rows.last).to_have_attribute("data-store", site.name)
    expect(page).to_have_url(re.compile("sort=samples"))
    for name in (site.name, digest(site.other)[:16]):
        page.locator(f"input[value='{name}']").check()
    chosen = f"/s/{site.name}/gallery?with={digest(site.other)[:16]}"
    expect(page.locator("#compare")).to_have_attribute("href", chosen)
    page.locator("#filter").fill("WebDataset 16")
    shown = page.locator("#stores tbody tr:visible")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text(digest(site.other)[:8])
    expect(page).to_have_url(re.compile("filter=WebDataset"))
    page.reload()
    expect(shown).to_have_count(1)
    shown.locator(".open").click()
    expect(page).to_have_url(re.compile(f"/s/{digest(site.other)[:16]}/gallery"))


def test_the_wall_shows_the_stored_pixels_while_it_slides_and_scrolls(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/gallery")
    expect(page.locator("#errors circle")).to_have_count(2)  # the wall is lower from then on
    loaded(page)
    truth = shown_states(site.spec, 0, SAMPLES)
    np.testing.assert_array_equal(wall_tile(page, 3), grey(truth[0][[3]])[0])
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#time-text")).to_have_text("t = 500")
    loaded(page)
    np.testing.assert_array_equal(wall_tile(page, 3), grey(truth[500][[3]])[0])
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/sheet/" in request.url else None)
    page.locator("#time").focus()
    for key in ("ArrowLeft", "ArrowRight", "ArrowRight", "Home", "End"):
        page.keyboard.press(key)
    loaded(page)
    assert asked == []  # all timesteps were there before the slider moved
    page.evaluate("() => { window.advkdWall.root.scrollTop = 1e9; }")
    page.wait_for_function("() => window.advkdWall.first() > 1000")
    loaded(page)
    np.testing.assert_array_equal(wall_tile(page, SAMPLES - 1), grey(truth[0][[SAMPLES - 1]])[0])
    page.wait_for_function("() => Number(new URLSearchParams(location.search).get('at')) > 1000")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    page.wait_for_function("() => document.getElementById('time-text').textContent === 't = 999'")


def test_the_wall_shows_one_side_at_a_time(site: Site, page: Page) -> None:
    truth = shown_states(site.spec, 0, 8)
    student = load_student(site.student)
    with torch.no_grad():
        predicted = student.predictions(torch.from_numpy(truth[999].astype(np.float32)))[-1].numpy()
    expected = {"": grey(truth[0]), "0": grey(predicted)}
    page.goto(f"{site.store}/gallery")
    for show in ("0", "", "0", ""):
        page.locator("#show").select_option(show)
        loaded(page)
        np.testing.assert_allclose(wall_tile(page, 3).astype(int), expected[show][3], atol=1)
    held = "() => [...wall.sheets.held.values()].reduce((sum, { image }) => sum + image.width * image.height, 0)"
    count = page.evaluate("() => { const wall = window.advkdWall; return [wall.sheets.pixels, (" + held + ")()]; }")
    assert count[0] == count[1] > 0


def test_jump_filter_sort_and_a_link_that_says_all_of_it(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/gallery")
    page.keyboard.press("/")
    page.keyboard.type("777")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => { const f = window.advkdWall.first(); return f <= 777 && 777 < f + window.advkdWall.columns; }"
    )
    labels = drawn_condition(conditions_of(site.told.conditioning), site.told.base_seed, range(64))["class_labels"]
    page.goto(f"{site.address}/s/{digest(site.told)[:16]}/gallery")
    page.locator("#by").select_option("brightness")
    expect(page.locator("#status")).to_contain_text("all 64 samples")
    page.locator("#label").select_option("1")
    expect(page.locator("#status")).to_contain_text('of class "1 dog" among all 64 samples')
    page.locator("#least").click()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => location.search.includes('t=500') && location.search.includes('label=')")
    numbers = (
        "() => { const { source } = window.advkdWall; return [...Array(source.count).keys()].map(source.number); }"
    )
    found = page.evaluate(numbers)
    assert sorted(found) == torch.nonzero(labels == 1).flatten().tolist()
    brightness = shown_states(site.told, 0, 64)[0].astype(np.float64).mean((1, 2, 3))[found]
    assert (np.diff(brightness) >= -1e-6).all()
    page.goto(page.url)
    expect(page.locator("#time-text")).to_have_text("t = 500")
    expect(page.locator("#by")).to_have_value("brightness")
    page.wait_for_function(f"(found) => String(({numbers})()) === String(found)", arg=found)


def test_a_trajectory_and_its_neighbours(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/gallery?t=500")
    page.locator(".tile[data-sample='2']").click()
    expect(page).to_have_url(re.compile(r"/sample/2\?t=500"))
    strip = page.locator("#strip")
    expect(strip).to_contain_text("tiny")
    expect(strip.locator("canvas")).to_have_count(3 + 2 + 1 + 2 + 2 + 2 + 2)
    for at, t in (("#stage", 500), ("#strip tr.teacher:first-child [data-t='0'] canvas", 0)):
        expected = grey(shown_states(site.spec, 2, 3)[t])[0]
        np.testing.assert_array_equal(canvas_pixels(page, at), expected)
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(re.compile(r"/sample/3\?t=500"))
    with page.expect_download() as started:
        page.locator(".downloads >> text=npz").click()
    with np.load(started.value.path()) as file:
        np.testing.assert_array_equal(file["t0500"], shown_states(site.spec, 3, 4)[500])
        assert "student0_error_t0500" in file
    page.keyboard.press("/")
    page.keyboard.type("99999")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("this store shows samples 0 to 1599, got '99999'")


def test_compare_scrolls_and_slides_both(site: Site, page: Page) -> None:
    page.goto(f"{site.address}/s/{site.name}/gallery?with={site.name}~0")
    expect(page.locator("#by")).to_have_value("disagreement")
    expect(page.locator("#status")).to_contain_text("Of 512 of 1,600 samples", timeout=60_000)
    expect(page.locator("#status")).to_contain_text("at the clean state")
    page.keyboard.press("ArrowLeft")
    for wall in ("wall", "right-wall", "apart-wall"):
        expect(page.locator(f"#{wall}-time")).to_have_text("t = 500")
    page.locator("#wall").hover()
    page.mouse.wheel(0, 600)
    for side in ("right", "apart"):
        page.wait_for_function("(id) => document.getElementById(id).scrollTop > 300", arg=f"{side}-wall")
    with page.expect_response(
        lambda answer: f"less={site.name}~0" in unquote(answer.url) and "most=0.05" in answer.url
    ) as answered:
        page.locator("#most").select_option("0.05")
    assert answered.value.status == 200
    expect(page).to_have_url(re.compile("most=0.05"))
    page.locator("#with").select_option("")
    expect(page.locator("#right-wall")).to_have_count(0)
    # Another page: what is chosen before its script runs is not heard.
    page.wait_for_function("() => window.advkdWall?.settled")
    page.locator("#with").select_option(f"{site.name}~0")
    expect(page.locator("#right-wall")).to_have_count(1)
    page.goto(f"{site.store}/gallery?with={digest(site.other)[:16]}")
    expect(page.locator("#status")).to_contain_text("that both have")
    assert page.locator("#apart-wall").count() == 1


def test_linked_walls_show_the_same_rows_at_one_height(site: Site, page: Page) -> None:
    page.set_viewport_size({"width": 1024, "height": 700})
    page.goto(f"{site.address}/s/{site.name}/gallery?with={site.name}~0&by=number")
    loaded(page)
    page.locator("#right-wall").hover()
    page.mouse.wheel(0, 335)
    walls = "const first = window.advkdWall; const walls = [first, ...first.linked];"
    page.wait_for_function(f"() => {{ {walls} return walls.every((wall) => wall.root.scrollTop === 335); }}")
    told = page.evaluate(
        f"""() => {{
          {walls}
          return walls.map((wall) => [wall.columns, wall.row, wall.root.getBoundingClientRect().top]);
        }}"""
    )
    assert told[0] == told[1] == told[2]
    page.locator("#wall").hover()
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"() => {{ {walls} return walls.every((wall) => wall.root.scrollTop > 390); }}")


def test_an_order_leads_from_sample_to_sample(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/gallery?by=distance:0")
    expect(page.locator("#status")).to_contain_text("of 1,600 samples")
    loaded(page)
    order = page.evaluate("() => [3, 4, 5].map(window.advkdWall.source.number)")
    page.locator(f".tile[data-sample='{order[1]}']").click()
    expect(page.locator("#rank")).to_have_text("5 of 512 by distance to tiny at clean")
    expect(page).to_have_title(re.compile("^5 of 512 by distance to tiny at clean"))
    expect(page.locator("#previous")).to_have_attribute("href", re.compile(f"/sample/{order[0]}\\?.*rank=3"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(re.compile(f"/sample/{order[2]}\\?.*rank=5.*t=500"))
    expect(page.locator("#rank")).to_have_text("6 of 512 by distance to tiny at clean")


def test_errors_share_one_scale_unless_each_row_has_its_own(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/sample/2")
    scales = page.locator("#strip .signed")
    texts = "[...document.querySelectorAll('#strip .signed')].map((one) => one.textContent)"
    expect(scales).to_have_count(3)
    shown = scales.all_text_contents()
    assert shown[1] == shown[2]
    assert re.fullmatch("\u2212[0-9.]+\\+[0-9.]+", shown[1])
    page.locator("#own").check()
    expect(page).to_have_url(re.compile("own=1"))
    page.wait_for_function(f"(old) => String({texts}) !== String(old)", arg=shown)
    own = scales.all_text_contents()
    assert own[1] != own[2]
    assert shown[1] in own[1:]
    expect(page.locator("#growth")).to_contain_text("its error grows most from t = 500 to clean")


def test_a_phone_has_one_row_of_large_controls_and_swipes_through_time(site: Site, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{site.store}/gallery?by=norm")
    loaded(page)
    box = page.locator(".tools").bounding_box()
    assert box is not None
    assert box["height"] < 70
    small = page.evaluate(
        """() => [...document.querySelectorAll(".bar a, .bar button, .bar input, .tools button, .tools select")]
          .filter((one) => !one.hidden && one.getBoundingClientRect().height < 44 && !one.matches(".brand"))
          .map((one) => one.outerHTML)"""
    )
    assert small == []
    touch = """([across, down]) => {
      const root = window.advkdWall.root;
      const at = (x, y) => new Touch({ identifier: 1, target: root, clientX: x, clientY: y });
      root.dispatchEvent(new TouchEvent("touchstart", { touches: [at(200, 300)] }));
      root.dispatchEvent(new TouchEvent("touchend", { changedTouches: [at(200 + across, 300 + down)] }));
    }"""
    page.evaluate(touch, [-30, -200])
    expect(page.locator("#time-text")).to_have_text("clean")
    page.evaluate(touch, [-120, 10])
    expect(page.locator("#time-text")).to_have_text("t = 500")
    page.evaluate(touch, [120, 10])
    expect(page.locator("#time-text")).to_have_text("clean")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_and_names_what_it_has(site: Site, browser: Browser, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    for path in (
        "/",
        f"/s/{site.name}",
        f"/s/{site.name}/gallery",
        f"/s/{site.name}/sample/1",
        f"/s/{site.name}/gallery?with={site.name}~0",
        "/s/none",
    ):
        page.goto(site.address + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, path
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("a, button, input, select, canvas[role], img")].filter((one) => {
              if (one.tagName === "IMG") return !one.hasAttribute("alt");
              const name = one.textContent.trim() || one.getAttribute("aria-label") || one.querySelector("img[alt]");
              return !name && !one.labels?.length;
            }).map((one) => one.outerHTML)"""
        )
        assert unnamed == [], path
        assert len(page.locator("h1").all()) == 1
    context.close()
