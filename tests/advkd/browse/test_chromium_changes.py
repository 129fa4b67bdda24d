"""What changes while people look: damage, growth, and a store that cannot be reached; in a real browser."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from advkd.trajectories import Filling, precompute
from storage import digest, join, open_store, open_writer, read_bytes, seal, store_uri, write_bytes
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill, shard_states
from tests.advkd.browse.pictures import grey
from tests.advkd.browse.screen import loaded, wall_tile
from tests.advkd.browse.site import PATIENCE_MS, Site
from tests.advkd.browse.specs import digits_spec
from tests.advkd.conftest import mixture_spec


def test_a_corrupt_shard_is_marked_and_recovers(site: Site, page: Page) -> None:
    # A store that no test has looked at: good bytes that were read before are shown from memory.
    spec = digits_spec(base_seed=9)
    fill(site.root, spec, 128)
    store = f"{site.address}/s/{digest(spec)[:16]}"
    uri = store_uri(site.root, spec)
    address = join(uri, open_store(uri).manifest.shards.keys(2)[1])
    good = read_bytes(address)
    write_bytes(address, bytes(len(good)))
    page.goto(site.address)
    expect(page.locator(f"tr[data-store='{digest(spec)[:16]}']")).to_be_visible()
    page.goto(f"{store}/gallery?t=500")
    loaded(page)
    expect(page.locator(".tile[data-sample='70']")).to_have_attribute("aria-label", "Sample 70, corrupt")
    expect(page.locator(".tile[data-sample='30']")).to_have_attribute("aria-label", "Sample 30")
    page.goto(f"{store}/sample/70")
    expect(page.locator("#strip")).to_contain_text("every object of a store must be what was committed")
    expect(page.locator("#strip")).to_contain_text("advkd cache repair")
    page.go_back()
    expect(page.locator(".tile[data-sample='70']")).to_have_attribute("aria-label", "Sample 70, corrupt")
    write_bytes(address, good)
    # Without reloading.
    expect(page.locator(".tile[data-sample='70']")).to_have_attribute("aria-label", "Sample 70", timeout=PATIENCE_MS)
    loaded(page)
    np.testing.assert_array_equal(wall_tile(page, 70), grey(shown_states(spec, 70, 71)[500])[0])


def test_a_store_grows_while_precompute_runs(site: Site, page: Page) -> None:
    wanted = replace(mixture_spec(Path("unused")), store=site.root, samples=64)
    ended: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        gate = threading.Event()
        original = Filling.compute

        def slowly(filling: Filling, index: int, *rest: object) -> object:
            if index:
                assert gate.wait(200)
            return original(filling, index, *rest)

        patch.setattr(Filling, "compute", slowly)
        worker = threading.Thread(target=lambda: ended.append(precompute(wanted)))
        worker.start()
        try:
            page.goto(site.address)
            card = page.locator("#stores tbody tr", has_text="mixture")
            expect(card).to_contain_text("growing", timeout=60_000)
            card.locator("a:not(.open)").click()
            expect(page.locator("#samples")).to_have_text("16 samples")
            expect(page.locator("#state")).to_have_text("growing")
        finally:
            gate.set()
            worker.join()
        expect(page.locator("#samples")).to_have_text("64 samples", timeout=PATIENCE_MS)
        expect(page.locator("#state")).to_have_text("sealed", timeout=PATIENCE_MS)
    assert len(ended) == 1


def test_a_wall_grows_without_reloading(site: Site, page: Page) -> None:
    spec = digits_spec(base_seed=11)
    writer = open_writer(site.root, spec)
    writer.write_shard(0, shard_states(spec, 0))
    page.goto(site.address)
    expect(page.locator(f"[data-store='{digest(spec)[:16]}']")).to_have_count(1, timeout=PATIENCE_MS)
    page.goto(f"{site.address}/s/{digest(spec)[:16]}/gallery?size=48")
    expect(page.locator(".tile:not([hidden])")).to_have_count(32)
    writer.write_shard(1, shard_states(spec, 1))
    expect(page.locator(".tile:not([hidden])")).to_have_count(64, timeout=PATIENCE_MS)
    seal(site.root, spec, 64)


def test_s3_goes_away_and_comes_back(site: Site, page: Page) -> None:
    page.goto(f"{site.store}/gallery")
    loaded(page)
    site.proxy.share = 1.0
    try:
        expect(page.locator("#trouble")).to_contain_text("The store cannot be reached", timeout=60_000)
    finally:
        site.proxy.share = 0.0
    expect(page.locator("#trouble")).to_be_hidden(timeout=60_000)
