"""What import-linter cannot say of the house: doors are used, and nothing lies flat in a root."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TOGETHER

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("storage", "advkd", "flows")
FLAT = {
    "storage": {"__init__", "errors", "tables", "testing"},
    "advkd": {"__init__", "__main__"},
    "flows": {
        "__init__",
        *("distill", "evaluate", "export", "precompute", "register", "train", "watch"),
        *("deploy", "deployed", "engine", "serve", "upkeep", "warm", "worker"),
        *("command", "requests", "tasks"),
    },
}
"""What a root is for: its door, what is run by that name, and what all rooms stand on."""


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            yield ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"), path


NAMES = {name for name, _ in modules()}
ROOMS = {name for name, path in modules() if path.name == "__init__.py"}


def room_of(module: str) -> str:
    return module if module in ROOMS else module.rpartition(".")[0]


def passes_a_door(importer: str, imported: str) -> bool:
    """Whether a module reaches into a room that it is not in, past the room's `__init__`."""
    room = room_of(imported)
    inside = f"{importer}.".startswith(f"{room}.") or importer == "advkd.__main__"
    # A face, as `flows/serve.py`, runs what it is named after.
    face = importer.startswith("flows.") and importer.count(".") == 1 and imported.endswith(importer[5:])
    return imported not in ROOMS and room.count(".") >= 1 and not inside and not face


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_lies_flat_in_a_root_but_what_the_root_is_for(package: str) -> None:
    assert {path.stem for path in (CHECKOUT / package).glob("*.py")} <= FLAT[package]


def test_rooms_are_entered_by_their_doors() -> None:
    reached = []
    for name, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in NAMES:
                targets = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES or {node.module}
                reached += [f"{name} -> {target}" for target in targets if passes_a_door(name, target)]
    assert reached == []


def test_a_door_shadows_no_module_of_its_room() -> None:
    shadowed = []
    for name, path in modules():
        if name in ROOMS:
            bound = {
                alias.asname or alias.name
                for node in ast.parse(path.read_text(encoding="utf-8")).body
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            shadowed += [f"{name}.{one}" for one in bound if f"{name}.{one}" in NAMES]
    assert shadowed == []


def test_files_of_tests_that_run_together_are_there_and_all_that_fork_are_among_them() -> None:
    tests = CHECKOUT / "tests"
    named = [file for files in TOGETHER for file in files]
    assert [file for file in named if not (tests / f"{file}.py").is_file()] == []
    assert len(named) == len(set(named))
    forking = {
        path.relative_to(tests).with_suffix("").as_posix()
        for path in tests.rglob("test_*.py")
        if "fork: Forker" in path.read_text() and path.name != "test_house.py"
    }
    assert forking == set(TOGETHER[2])


def test_tests_mirror_the_tree() -> None:
    packages = {path.relative_to(CHECKOUT / "tests") for path in (CHECKOUT / "tests").rglob("__init__.py")}
    rooms = {Path(*room.split(".")) / "__init__.py" for room in ROOMS}
    assert {path for path in packages if path.parts[0] in PACKAGES} <= rooms
