"""The wheel, installed in an environment of its own: its commands run there, far from the checkout."""

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from flows.processes.server import own_server
from tests.s3_server import die_with_parent, end

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOYED = """
import json
from prefect.client.orchestration import get_client

with get_client(sync_client=True) as client:
    deployments = client.read_deployments()
steps = [step for one in deployments for step in one.pull_steps or ()]
folders = {options["directory"] for step in steps for options in step.values()}
print(json.dumps({"names": [one.name for one in deployments], "folders": sorted(folders)}))
"""
PACKAGES = ("advkd", "flows", "storage")
WHERE = "import advkd, flows, storage, json; print(json.dumps([m.__file__ for m in (advkd, flows, storage)]))"


@dataclass(frozen=True)
class Environment:
    """An environment with the wheel and this environment's other packages, but not its editable `advkd`."""

    binaries: Path
    folder: Path

    def start(self, *command: str, **more: str) -> "subprocess.Popen[str]":
        """A command of it, in an unrelated folder."""
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.Popen(
            [self.binaries / command[0], *command[1:]],
            cwd=self.folder,
            env=variables | {"COLUMNS": "200", "PREFECT_HOME": str(self.folder / "prefect")} | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )

    def run(self, *command: str, **more: str) -> str:
        """What it prints, with more variables in its environment."""
        with self.start(*command, **more) as process:
            out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        return out

    @contextlib.contextmanager
    def browse(self, uri: str) -> Iterator[str]:
        """The address of `advkd browse`, without a slash at its end."""
        with self.start("advkd", "browse", uri, "--port", "0", "--no-open") as process:
            try:
                assert process.stdout is not None
                yield process.stdout.readline().strip().rstrip("/")
            finally:
                end(process, patience=10)


def files_of_packages() -> list[str]:
    """Every file of the packages that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(name for name in set(listed.stdout.split("\0")) if name and (CHECKOUT / name).is_file())


def pip(*arguments: object) -> None:
    """Runs the pip of this environment."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build leaves files in its source folder, and takes those that another left there."""
    source = tmp_path_factory.mktemp("source")
    for name in [*files_of_packages(), "pyproject.toml", "README.md", "LICENSE"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((CHECKOUT / name).read_bytes())
    wheels = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", wheels, source)
    (built,) = wheels.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Other packages come from here by a line in a .pth file, which does not follow those that lie there."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    pip("--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    (Path(packages) / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Environment(folder / "bin", tmp_path_factory.mktemp("elsewhere"))


def test_it_holds_every_file_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if ".dist-info/" not in name)
    assert names == files_of_packages()


def test_its_packages_are_imported_and_not_those_of_the_checkout(environment: Environment) -> None:
    places = json.loads(environment.run("python", "-c", WHERE))
    assert [Path(place).is_relative_to(environment.binaries.parent) for place in places] == [True] * 3, places


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "word"),
    [(["advkd", "--help"], "doctor"), (["python", "-m", "flows.distill", "--help"], "--fan-out")],
)
def test_a_command_says_how_it_is_used(command: list[str], word: str, environment: Environment) -> None:
    assert word in environment.run(*command)


def test_a_store_is_computed_and_shown(environment: Environment) -> None:
    tiny = ["--samples", "32", "--steps", "2", "--captures", "2", "--block-samples", "16"]
    uri = environment.run("advkd", "precompute", *tiny, "--store", "stores").splitlines()[-1]
    static = [name for name in files_of_packages() if name.startswith("advkd/browse/static/")]
    with environment.browse("stores") as address:
        page = urllib.request.urlopen(f"{address}/s/{Path(uri).name}/gallery", timeout=120).read().decode()
        sent = [urllib.request.urlopen(f"{address}/static/{Path(name).name}", timeout=120).read() for name in static]
    assert Path(uri).name in page
    assert len(static) > 10
    assert sent == [(CHECKOUT / name).read_bytes() for name in static]


@pytest.mark.slow
def test_it_deploys_without_a_checkout(environment: Environment, tmp_path: Path) -> None:
    with own_server(tmp_path / "home", "--no-ui") as ready:
        url = ready()
        environment.run("python", "-m", "flows.deploy", PREFECT_API_URL=url)
        found = json.loads(environment.run("python", "-c", DEPLOYED, PREFECT_API_URL=url))
    declared = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    assert sorted(found["names"]) == sorted(entry["name"] for entry in declared)
    assert found["folders"] == [str(environment.folder)]
    assert str(CHECKOUT) not in json.dumps(found)
