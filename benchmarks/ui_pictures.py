"""`python -m benchmarks.ui_pictures`: a tiny distillation in Prefect's UI, for `docs/operations.md`, in a real browser.

Starts a server, deploys, and runs `distill/quick` on the closed-form teacher through a worker: minutes on two cores.
`--run ID` shows a run of the server at PREFECT_API_URL instead.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from benchmarks.measure import DOCS, progress
from tests.advkd.browse.served import ARGUMENTS, chromium
from tests.flows.machine import prefect_machine

PATIENCE_MS = 120_000
PARAMETERS = (
    "teacher=mixture",
    'precompute={"samples": 512, "shard_samples": 128}',
    'train={"samples": 6400, "student": {"width": 16, "blocks": 1}, "rise_samples": 640}',
    "samples=256",
    # Below the clone: what pictures show holds no path of this machine.
    "root=runs/pictures",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="id of a flow run of distill on the server at PREFECT_API_URL")
    chosen = parser.parse_args()
    if chosen.run:
        take(os.environ["PREFECT_API_URL"], chosen.run)
        return
    with tempfile.TemporaryDirectory() as folder, prefect_machine(Path(folder), {}, ui=True) as machine:
        done = machine.run_deployment("distill/quick", PARAMETERS, seconds=1800)
        assert done.returncode == 0, done.stdout
        found = re.search(r"UUID: (\S+)", done.stdout)
        assert found is not None
        take(machine.environment["PREFECT_API_URL"], found.group(1))


def take(api: str, run: str) -> None:
    """Pictures of a finished run: the timeline, its list of artifacts, and those worth a look."""
    address = api.removesuffix("/api")
    asked = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    artifacts = {one["key"]: one["id"] for one in httpx.post(f"{api}/artifacts/filter", json=asked, timeout=60).json()}
    report = min(artifacts, key=len)
    pages = {
        "run": (f"/v2/runs/flow-run/{run}", 900),
        "artifacts": (f"/v2/runs/flow-run/{run}?tab=Artifacts", 900),
        "report": (f"/v2/artifacts/artifact/{artifacts[report]}", 760),
        "strips": (f"/v2/artifacts/artifact/{artifacts[f'{report}-strips']}", 760),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        # One page for all: the interface is loaded once.
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(PATIENCE_MS)
        for name, (path, height) in pages.items():
            page.set_viewport_size({"width": 1200, "height": height})
            _shoot(page, address + path, DOCS / "images" / f"prefect-{name}.png")
        browser.close()


def _shoot(page: Page, address: str, picture: Path) -> None:
    page.goto(address, wait_until="domcontentloaded")
    page.locator("main").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(5000)
    page.screenshot(path=picture)
    progress(picture.name)


if __name__ == "__main__":
    main()
