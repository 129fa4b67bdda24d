"""The locks hold what pyproject.toml asks for, with all that this pulls in, and nothing else."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]
LOCKS = CHECKOUT / "requirements"


@dataclass(frozen=True)
class Pin:
    """One version of one package, with the hashes of its files."""

    name: str
    version: str
    hashes: int


def pins(lock: str) -> dict[str, Pin]:
    """The pins of a lock that apply to this machine and this Python, by name."""
    text = (LOCKS / lock).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    applying = {}
    for line in lines:
        match = re.fullmatch(r"([a-z0-9-]+)==(\S+)(?: ; (.*?))?((?:\s+--hash=sha256:[0-9a-f]{64})*)\s*", line)
        assert match, f"not a pin: {line!r}"
        name, version, marker, hashes = match.groups()
        if marker is None or Marker(marker).evaluate():
            assert name not in applying, f"{lock} pins {name} twice"
            applying[name] = Pin(name, version, hashes.count("--hash"))
    return applying


def declared(extra: str) -> list[Requirement]:
    """What pyproject.toml asks for by itself and with an extra, the extras within it unfolded."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    asked = [Requirement(line) for line in lines]
    inner = [name for requirement in asked if requirement.name == "advkd" for name in sorted(requirement.extras)]
    return [requirement for requirement in asked if requirement.name != "advkd"] + [
        Requirement(line) for name in inner for line in project["optional-dependencies"][name]
    ]


def closure(requirements: list[Requirement]) -> Iterator[Requirement]:
    """The requirements, and those of the installed packages that they reach; each once."""
    waiting, seen = list(requirements), set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        yield requirement
        for line in importlib.metadata.requires(requirement.name) or []:
            child = Requirement(line)
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
                child.marker = None
                waiting.append(child)


@pytest.mark.thorough
@pytest.mark.parametrize(("lock", "extra"), [("runtime.txt", ""), ("dev.txt", "dev")])
def test_a_lock_is_complete_and_holds_nothing_else(lock: str, extra: str) -> None:
    locked = pins(lock) | pins("torch.txt")
    reached = set()
    for requirement in closure(declared(extra)):
        name = canonicalize_name(requirement.name)
        reached.add(name)
        assert name in locked, f"{lock} lacks {requirement}; run `make lock`"
        assert requirement.specifier.contains(locked[name].version, prereleases=True), (
            f"{lock} pins {name} {locked[name].version}, which is not {requirement}; run `make lock`"
        )
    assert set(locked) == reached, f"nothing requires {set(locked) - reached}; run `make lock`"


@pytest.mark.parametrize("lock", ["runtime.txt", "dev.txt"])
def test_every_pin_has_hashes_and_is_what_is_installed(lock: str) -> None:
    for pin in pins(lock).values():
        assert pin.hashes, f"{pin.name} has no hash"
        assert importlib.metadata.version(pin.name) == pin.version, f"{lock} pins {pin.name} {pin.version}"


def test_torch_is_what_torch_txt_says() -> None:
    (torch,) = pins("torch.txt").values()
    # "+cpu" names the build.
    assert importlib.metadata.version("torch").partition("+")[0] == torch.version


def test_development_runs_the_versions_of_the_runtime() -> None:
    runtime, dev = pins("runtime.txt"), pins("dev.txt")
    assert runtime == {name: dev.get(name) for name in runtime}
