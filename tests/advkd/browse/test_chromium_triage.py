"""What a researcher does with the worst samples: sees their distribution, filters, flags, exports; in a browser."""

import re

import numpy as np
from playwright.sync_api import Page, Route, expect

from storage import digest
from storage.testing.oracles import shown_states
from tests.advkd.browse.screen import loaded
from tests.advkd.browse.site import CLASSES, Site

NUMBERS = "() => { const { source } = window.advkdWall; return [...Array(source.count).keys()].map(source.number); }"


def test_flags_live_in_the_link_the_browser_and_the_file(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/gallery")
    loaded(page)
    expect(page.locator("#tray")).to_be_hidden()
    for sample in (3, 9):
        page.locator(f".tile[data-sample='{sample}']").hover()
        page.keyboard.press("x")
    expect(page.locator("#tray-count")).to_have_text("2 flagged")
    expect(page).to_have_url(re.compile(r"flags=3(,|%2C)9"))
    page.goto(f"{site.store}/sample/9")
    expect(page.locator("#flag")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("x")
    expect(page.locator("#tray-count")).to_have_text("1 flagged")
    page.go_back()
    expect(page.locator("#tray-count")).to_have_text("1 flagged")
    page.locator("#tray summary b").click()
    note = page.locator("#tray input")
    note.fill("two heads")
    with page.expect_response(lambda answer: answer.request.method == "POST") as written:
        note.blur()
    assert written.value.json() == {"notes": {"3": "two heads"}}
    with page.expect_download() as started:
        page.locator("#tray-export a", has_text="npz").click()
    with np.load(started.value.path()) as file:
        assert file["samples"].tolist() == [3]
        assert "student0_error_t0000" in file
    page.evaluate("() => localStorage.clear()")
    page.goto(f"{site.store}/gallery")
    expect(page.locator("#tray-count")).to_have_text("1 flagged")  # the next viewer's
    page.locator("#tray-clear").click()
    expect(page.locator("#tray")).to_be_hidden()


def test_what_is_changed_while_the_notes_are_read_stays_changed(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/sample/40")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.keyboard.press("x")
    late: list[Route] = []
    page.route("**/notes", lambda route: late.append(route) if route.request.method == "GET" else route.continue_())
    page.reload()
    expect(page.locator("#flag")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("x")
    expect(page.locator("#tray")).to_be_hidden()
    for route in late:
        assert route.fetch().json() == {"notes": {"40": ""}}
    with page.expect_response(lambda answer: answer.request.method == "POST") as written:
        for route in late:
            route.continue_()
    assert written.value.json() == {"notes": {}}
    expect(page.locator("#tray")).to_be_hidden()
    expect(page.locator("#flag")).to_have_attribute("aria-pressed", "false")


def test_what_the_server_has_not_got_is_sent_by_the_next_page(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/sample/41")
    page.route("**/notes", lambda route: route.abort())
    page.keyboard.press("x")
    expect(page.locator("#trouble")).to_contain_text("does not answer")
    page.unroute("**/notes")
    with page.expect_response(lambda answer: answer.request.method == "POST") as written:
        page.goto(f"{site.store}/sample/42")
    assert written.value.json() == {"notes": {"41": ""}}
    expect(page.locator("#tray-count")).to_have_text("1 flagged")
    with page.expect_response(lambda answer: answer.request.method == "POST") as written:
        page.locator("#tray-clear").click()
    assert written.value.json() == {"notes": {}}


def test_a_brush_filters_the_wall_and_classes_are_shown_apart(site: Site, page: Page) -> None:
    page.goto(f"{site.address}/s/{digest(site.told)[:16]}/gallery?by=contrast")
    page.locator("#panel summary").click(position={"x": 10, "y": 5})
    box = page.locator(".brush").bounding_box()
    assert box is not None
    values = shown_states(site.told, 0, 64)[0].astype(np.float64).reshape(64, -1).std(1)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] + 5, box["y"] + 20)
    page.mouse.up()
    page.wait_for_function("() => window.advkdWall.source.count < 64")
    found = page.evaluate(NUMBERS)
    middle = (values.min() + values.max()) / 2
    sure = np.abs(values - middle) > 0.02 * (values.max() - values.min())
    assert {k for k in found if sure[k]} == set(np.flatnonzero((values > middle) & sure))
    assert (np.diff(values[found]) <= 1e-6).all()
    expect(page).to_have_url(re.compile("from=.*to="))
    page.reload()
    page.wait_for_function("(count) => window.advkdWall.source.count === count", arg=len(found))
    page.locator("#panel summary").click(position={"x": 10, "y": 5})
    expect(page.locator("#classes button")).to_have_count(3)
    page.locator("#classes button", has_text="dog").click()
    expect(page.locator("#label")).to_have_value("1")
    expect(page.locator("#status")).to_contain_text('of class "1 dog" among all 64')


def test_labels_are_shown_and_searched(site: Site, page: Page) -> None:
    page.goto(f"{site.address}/s/{digest(site.told)[:16]}/gallery")
    expect(page.locator(".tile[data-sample='0']")).to_have_attribute(
        "title", re.compile("Sample 0, (cat|dog|red bird)")
    )
    page.locator("#find").fill("BIRD")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text('with "BIRD" among all 64')
    expect(page.locator(".tile:visible").first).to_have_attribute("title", re.compile(CLASSES["names"][2]))


def test_samples_fill_the_window_and_channels_are_chosen(site: Site, page: Page) -> None:
    page.goto(f"{site.address}/s/{digest(site.told)[:16]}/gallery")
    loaded(page)
    width, columns = page.evaluate("() => [window.advkdWall.tileWidth, window.advkdWall.columns]")
    assert width >= 96
    assert columns * width > 0.8 * 1280
    page.goto(f"{site.address}/s/{digest(site.latents)[:16]}/gallery")
    page.locator("#as").select_option(label="channel 2")
    expect(page).to_have_url(re.compile("as=2"))
    loaded(page)
    shown = page.evaluate("() => [...window.advkdWall.sheets.held.keys()].filter((key) => key.includes('as=2')).length")
    assert shown > 0
    assert page.evaluate("() => window.advkdWall.tile.join()") == "8,8"
    page.goto(f"{site.address}/s/{digest(site.latents)[:16]}/sample/1")
    cell = page.locator("#strip canvas").first
    expect(cell).to_have_js_property("width", 16)
    page.locator("#as").select_option("2")
    expect(cell).to_have_js_property("width", 8)


def test_where_a_student_parts_from_its_teacher_is_drawn_and_named(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/gallery")
    expect(page.locator("#errors circle")).to_have_count(2)
    expect(page.locator("#errors")).to_contain_text(re.compile(r"tiny: its error grows (most from|nowhere)"))
    page.locator("#errors .pick[data-t='500']").click()
    expect(page.locator("#time-text")).to_have_text("t = 500")
    page.goto(f"{site.store}/sample/5")
    expect(page.locator("#growth circle")).to_have_count(2)
    expect(page.locator("#growth li").first).to_contain_text("tiny: its error grows")


def test_the_map_is_panned_zoomed_hovered_and_selected_from(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/map?student=0")
    page.wait_for_function("() => window.advkdMap.found.samples.length === 512 && window.advkdMap.painted > 0")
    expect(page.locator("#status")).to_contain_text("Of 512 of 1,600 samples")
    page.locator("#student").select_option("")
    page.wait_for_function("() => window.advkdMap.found.samples.length === 1600")
    page.locator("#fit").click()
    box = page.locator("#map").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    place = "() => window.advkdMap.screen(7)"
    x, y = page.evaluate(place)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 40, middle[1] + 25)
    page.mouse.up()
    np.testing.assert_allclose(page.evaluate(place), [x + 40, y + 25], atol=1.5)
    page.keyboard.press("f")
    np.testing.assert_allclose(page.evaluate(place), [x, y], atol=1.5)
    page.mouse.move(box["x"] + x, box["y"] + y)
    expect(page.locator("#tip")).to_contain_text("sample ")
    page.wait_for_function("() => [...document.querySelectorAll('#tip img')].every((one) => one.naturalWidth > 0)")
    page.mouse.wheel(0, -400)
    zoomed = np.array(page.evaluate(place))
    assert np.hypot(*(zoomed - [x, y])) < 3  # what is under the pointer stays there
    page.keyboard.press("f")
    points = np.array(page.evaluate("() => window.advkdMap.found.samples.map((_, k) => window.advkdMap.screen(k))"))
    half = box["width"] / 2
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    page.mouse.down()
    for corner in ((half, 1), (half, box["height"] - 1), (1, box["height"] - 1)):
        page.mouse.move(box["x"] + corner[0], box["y"] + corner[1])
    page.mouse.up()
    page.keyboard.up("Shift")
    inside = int((points[:, 0] < half).sum())
    text = page.locator("#chosen").inner_text()
    assert abs(int(text.split()[0].replace(",", "")) - inside) <= 2 + inside // 100
    page.locator("#chosen button").click()
    expect(page.locator("#tray-count")).to_have_text("200 flagged")
    page.locator("#tray-clear").click()


def test_ticks_fit_beside_a_chart(site: Site, page: Page) -> None:
    texts = {"-65784": "-65.8k", "0": "0", "1": "1", "0.0312": "0.0312", "1e308": "1e+308", "2e-7": "2.0e-7"}
    page.goto(site.address)
    found = page.evaluate(f"async () => [{', '.join(texts)}].map((await import('/static/page.js')).brief)")
    assert dict(zip(texts, found, strict=True)) == texts


def test_a_chart_of_extremes_has_places_for_all_of_them(site: Site, page: Page) -> None:
    page.goto(site.store)
    expect(page.locator("#histograms figure")).to_have_count(3)
    expect(page.locator("#histograms figcaption b")).to_have_text(["t = 999", "t = 500", "clean"])
    series = "[{ name: 'a', errors: [[500, 1e308], [0, 2e307]] }]"
    drawn = page.evaluate(f"async () => (await import('/static/chart.js')).errorChart({series}, 0, null).outerHTML")
    for wrong in ("NaN", "Infinity"):
        assert wrong not in drawn
    assert ">1e+308<" in drawn
    same = page.evaluate("async () => (await import('/static/chart.js')).bars([3, 0], -1e308, 1e308).outerHTML")
    assert "NaN" not in same
