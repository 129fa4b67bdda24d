"""What must not mislead, in a browser: refused differences, exploded teachers, crafted stores, decoded latents."""

import re
import socket
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

import pytest
import torch
from playwright.sync_api import Page, expect

from advkd.networks import AutoencoderSpace, keep_decoder
from storage import TrajectorySpec, digest, open_writer, seal, store_uri
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill, shard_states
from tests.advkd.browse.screen import canvas_colours, loaded
from tests.advkd.browse.served import served
from tests.advkd.browse.site import Site
from tests.advkd.browse.specs import image_spec
from tests.advkd.browse.test_limits import CRAFTED, fill_identity
from tests.advkd.browse.test_store_view import damage
from tests.advkd.teachers.latents import tiny_kl

TOKEN = "correct horse battery"


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, TrajectorySpec], torch.Tensor]]:
    """A server with a token over an exploded, a crafted and a latent store; their specs, and a decoded image."""
    folder = tmp_path_factory.mktemp("strange")
    tiny_kl(in_channels=3).save_pretrained(folder / "vae")
    space, root = AutoencoderSpace.of(folder / "vae", (4, 8, 8)), str(folder / "stores")
    specs = {
        "latent": image_spec(sample_shape=(4, 8, 8), space=dict(space.facts)),
        "exploded": image_spec(base_seed=5),
        "crafted": image_spec(**CRAFTED["endless timesteps"][0]),
    }
    fill(root, specs["latent"], 32)
    keep_decoder(root, space)
    writer, states = open_writer(root, specs["exploded"]), shard_states(specs["exploded"], 0)
    writer.write_shard(0, {t: state * (20000 if t == 0 else 1) for t, state in states.items()})
    seal(root, specs["exploded"], 32)
    Path(store_uri(root, specs["crafted"])).mkdir(parents=True)
    fill_identity(root, specs["crafted"])
    image = space.decode(torch.from_numpy(shown_states(specs["latent"], 2, 3)[0]).float())[0]
    with served(root, "--decode", "--token", TOKEN) as address:
        yield address, specs, image


def test_unrelated_noises_are_shown_without_a_difference(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/gallery?with={digest(site.told)[:16]}")
    loaded(page)
    expect(page.locator(".caption")).to_contain_text("No difference: samples can be subtracted if both sides start")
    expect(page.locator(".caption")).to_contain_text("differ in shape ([1, 16, 16] and [3, 32, 32])")
    expect(page.locator("#right-wall .tile:visible").first).to_be_visible()
    expect(page.locator("#apart-wall")).to_have_count(0)
    expect(page.locator("#by option[value='disagreement']")).to_have_count(0)
    expect(page.locator("#status")).to_have_text("64 numbers that both have")


def test_a_wrong_number_leads_back(site: Site, page: Page) -> None:
    page.goto(site.store)
    page.locator("#jump").fill("five")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("this store shows samples 0 to 1599, got 'five'")
    page.get_by_text("Back to the gallery").click()
    expect(page).to_have_url(f"{site.store}/gallery")


@pytest.mark.parametrize("width", [1200, 1440])
def test_all_controls_stand_in_one_row(site: Site, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for path in (f"{site.name}/gallery?by=distance:0", f"{digest(site.told)[:16]}/gallery?by=norm"):
        page.goto(f"{site.address}/s/{path}")
        expect(page.locator("#status")).to_contain_text("at the clean state")
        box = page.locator(".tools").bounding_box()
        assert box is not None
        assert box["height"] < 60


def test_the_map_is_asked_for_once_and_before_its_scripts(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/map")
    page.wait_for_function("() => window.advkdMap?.found.samples.length === 1600")
    asked = "() => performance.getEntriesByType('resource').filter((one) => one.name.includes('/map?'))"
    assert page.evaluate(f"() => ({asked})().map((one) => one.initiatorType)") == ["link"]


def test_small_answers_come_at_once(site: Site, page: Page) -> None:
    page.goto(site.store)
    times = page.evaluate(
        """async () => {
          const times = [];
          for (let k = 0; k < 60; k++) {
            const began = performance.now();
            await (await fetch("/static/favicon.svg", {cache: "no-store"})).text();
            times.push(performance.now() - began);
          }
          return times;
        }"""
    )
    # If answers waited for a delayed acknowledgement, each would take 40 ms; some are slow on a busy machine anyway.
    assert statistics.quantiles(times, n=4)[0] < 30


def test_half_open_connections_do_not_lock_a_browser_out(tmp_path: Path, page: Page) -> None:
    spec = image_spec()
    fill(str(tmp_path), spec, 32)
    with served(str(tmp_path), descriptors=256) as address, ExitStack() as held:
        for _ in range(300):
            half = held.enter_context(socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), timeout=10))
            half.sendall(b"GET / HTTP/1.1\r\n")
        page.goto(address)
        expect(page.locator(f"tr[data-store='{digest(spec)[:16]}']")).to_be_visible()


def test_a_command_to_copy_is_one_for_a_shell(tmp_path: Path, page: Page) -> None:
    root, spec = str(tmp_path / "it's a store"), image_spec()
    fill(root, spec, 64)
    damage(store_uri(root, spec), 1)
    with served(root) as address:
        page.goto(f"{address}/s/{digest(spec)[:16]}/sample/40")
        command = f"advkd cache repair {quote(store_uri(root, spec))}"
        assert "'" in command
        expect(page.locator("main")).to_contain_text(command)


def test_a_token_is_asked_for_and_given_up(strange, page: Page) -> None:
    address, specs, _ = strange
    page.goto(f"{address}/s/{digest(specs['latent'])[:16]}")
    page.locator("#token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{address}/s/{digest(specs['latent'])[:16]}")
    assert page.request.get(f"{address}/static/none.js").status == 404
    page.locator("#help").click()
    page.get_by_text("Log out").click()
    expect(page.locator("h1")).to_have_text("Who is asking?")


def test_a_crafted_store_is_named_in_a_list_that_works(strange, page: Page) -> None:
    address, specs, _ = strange
    page.goto(f"{address}/?token={TOKEN.replace(' ', '+')}")
    refused = page.locator("tr.bad")
    expect(refused).to_contain_text("at most 1,024 timesteps, got 20,001")
    expect(refused).to_contain_text(digest(specs["crafted"])[:16])
    page.locator(f"tr[data-store='{digest(specs['exploded'])[:16]}'] b").click()
    expect(page.locator("#beyond")).to_have_text("100 % of clean values beyond [\u22121, 1], -20k to 20k")
    expect(page.locator("#beyond")).to_have_class(re.compile("refused"))


def test_latents_are_looked_at_as_images(strange, page: Page) -> None:
    address, specs, image = strange
    name = digest(specs["latent"])[:16]
    page.goto(f"{address}/s/{name}/gallery?token={TOKEN.replace(' ', '+')}")
    loaded(page)
    expect(page.locator("#as option").first).to_have_text("decoded")
    side = image.shape[-1]
    assert page.evaluate("() => window.advkdWall.tile") == [side, side]
    page.locator(".tile[data-sample='2']").click()
    rows = page.locator("#strip tbody tr")
    expect(rows).to_have_text(
        [re.compile(kind) for kind in ("teacher.*state", "decoded", "implied clean", "less final")]
    )
    expected = ((image + 1) * 127.5 + 0.5).clamp(0, 255).int().permute(1, 2, 0).numpy()
    # The image that the clean state implies is the clean state's own.
    for place in ("#stage", "#strip tr:nth-child(2) [data-t='0'] canvas", "#strip tr:nth-child(3) [data-t='0'] canvas"):
        assert abs(canvas_colours(page, place) - expected).max() <= 2, place
    # One channel of the latent is smaller than the image; an answer that comes later than a newer one is left.
    implied, held = page.locator("#strip tr:nth-child(3) [data-t='0'] canvas"), []
    page.locator("#as").select_option("1")
    expect(implied).to_have_js_property("width", side // 2)
    page.route(re.compile("/strip/.*as=2"), lambda route: held.append(route))
    page.locator("#as").select_option("2")
    page.locator("#as").select_option("")
    expect(implied).to_have_js_property("width", side)
    with page.expect_response(re.compile("/strip/.*as=2")):
        held[0].continue_()
    page.wait_for_timeout(500)
    expect(implied).to_have_js_property("width", side)
