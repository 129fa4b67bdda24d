"""A server with a student, over stores in a real S3 server, and a browser to look with; one of each for all files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from storage import TrajectorySpec, digest
from storage.testing.trajectories import fill
from tests.advkd.browse.served import ARGUMENTS, chromium, served
from tests.advkd.browse.specs import digits_spec, image_spec, student_folder
from tests.faulty_proxy import FaultyProxy, faulty_proxy
from tests.s3_server import S3Server

SAMPLES = 1600
CLASSES = {"kind": "labels", "names": ["cat", "dog", "red bird"], "distribution": "uniform"}
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@dataclass(frozen=True)
class Site:
    """A server, what it shows, and the way to S3 between."""

    address: str
    root: str
    spec: TrajectorySpec
    other: TrajectorySpec
    told: TrajectorySpec
    """Of a teacher with classes, in colours."""
    latents: TrajectorySpec
    proxy: FaultyProxy
    student: str

    @property
    def name(self) -> str:
        return digest(self.spec)[:16]

    @property
    def store(self) -> str:
        return f"{self.address}/s/{self.name}"


@pytest.fixture(scope="package")
def site(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        root = s3_server.make_bucket() + "/stores"
        spec, other = digits_spec(), digits_spec(solver_steps=10, layout="webdataset")
        fill(root, spec, SAMPLES)
        told = image_spec(sample_shape=(3, 32, 32), conditioning=CLASSES)
        latents = image_spec(sample_shape=(4, 8, 8))
        for small in (other, told, latents):
            fill(root, small, 64)
        notes = str(tmp_path_factory.mktemp("notes") / "notes.jsonl")
        student = student_folder(tmp_path_factory.mktemp("runs") / "tiny", (1, 16, 16))
        with (
            faulty_proxy(s3_server.endpoint, 0.0, faults=("503",)) as proxy,
            served(root, "--student", student, "--notes", notes, AWS_ENDPOINT_URL=proxy.endpoint) as address,
        ):
            yield Site(address, root, spec, other, told, latents, proxy, student)


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """One at a time in a process: Playwright allows no second one."""
    path = chromium()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser for a package whose conftest has this fixture; elsewhere it would stay until the session's end."""
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose console stays clean: no error, nothing that its policy refused."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    yield opened
    context.close()
    assert complaints == []
