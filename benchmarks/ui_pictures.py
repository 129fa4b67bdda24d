"""`python -m benchmarks.ui_pictures`: a small distillation in Prefect's UI, for `docs/operations.md`, in Chromium.

Starts a server, deploys, and runs `distill/quick` on a quarter of its samples through a worker: minutes on two cores.
`--run ID` shows a run of the server at PREFECT_API_URL instead.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright

from benchmarks.measure import DOCS, progress
from tests.advkd.browse.served import ARGUMENTS, chromium
from tests.flows.machine import prefect_machine

PATIENCE_MS = 120_000
PARAMETERS = (
    'precompute={"samples": 1024}',
    'train={"samples": 16000}',
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
    """Pictures of a finished run: the timeline, what its training logged, its artifacts, and those worth a look."""
    address = api.removesuffix("/api")
    made = _found(api, "artifacts", artifacts={"flow_run_id": {"any_": [run]}})
    artifacts = {one["key"]: one["id"] for one in made}
    report = min(artifacts, key=len)
    stage = {"parent_flow_run_id": {"any_": [run]}}
    (training,) = (one["id"] for one in _found(api, "flow_runs", flow_runs=stage, flows={"name": {"any_": ["train"]}}))
    pages = {
        "run": (f"/v2/runs/flow-run/{run}", 900),
        "training": (f"/v2/runs/flow-run/{training}", 1200),
        "artifacts": (f"/v2/runs/flow-run/{run}?tab=Artifacts", 900),
        "report": (f"/v2/artifacts/artifact/{artifacts[report]}", 760),
        "distances": (f"/v2/artifacts/artifact/{artifacts[f'{report}-fd']}", 760),
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


def _found(api: str, what: str, **wanted: dict[str, Any]) -> list[dict[str, Any]]:
    answer = httpx.post(f"{api}/{what}/filter", json=wanted, timeout=60)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


def _shoot(page: Page, address: str, picture: Path) -> None:
    page.goto(address, wait_until="domcontentloaded")
    page.locator("main").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(5000)
    page.screenshot(path=picture)
    progress(picture.name)


if __name__ == "__main__":
    main()
