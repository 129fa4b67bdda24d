"""Variants of a recipe: each is another one, and makes a student, whatever the teacher."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import recipe
from benchmarks.peers import runs
from benchmarks.peers.protocol import our_network
from benchmarks.recipe_variants import BASE, GROUPS
from tests.benchmarks.peers.conftest import Make, planned, problem, small
from tests.benchmarks.peers.test_page import COMMAND

__all__ = ["problem", "small"]


@pytest.mark.parametrize("source", ["digits", "tests.benchmarks.peers.closed_form:colours"])
@pytest.mark.slow
def test_every_variant_is_another_recipe_with_a_student(source: str) -> None:
    base = planned(source)
    recipes = {BASE.name: base.recipe}
    for variant in (variant for variants in GROUPS.values() for variant in variants):
        changed = planned(source)
        object.__setattr__(changed, "given", variant.change(base.recipe, base.facts))
        our_network(changed)
        recipes[variant.name] = changed.recipe
    assert len({repr(changed) for changed in recipes.values()}) == len(recipes)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_command_trains_what_is_asked_and_keeps_it(
    problem: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = []

    def here(function: Any, *arguments: Any, **_: Any) -> Any:
        trained.append(arguments[0]["recipe"]["warmup"])
        return function(*arguments)

    monkeypatch.setattr(runs, "call", here)
    monkeypatch.setattr(recipe, "DOCS", tmp_path)
    monkeypatch.setitem(recipe.GROUPS, "phases", recipe.GROUPS["phases"][:1])
    options = ["--groups", "phases", "--seconds", "0.2", "--evaluation-samples", "48", "--write"]
    features = ["--features", "tests.benchmarks.peers.closed_form:means", "--root", str(tmp_path / "root")]
    monkeypatch.setattr(sys, "argv", [*COMMAND, *options, *features])
    recipe.main()
    first = capsys.readouterr().out
    recipe.main()
    assert trained == [0.4, 0.0]
    assert capsys.readouterr().out == first
    assert "| game from the start |" in first
    assert first.strip() in (tmp_path / "benchmarks" / "recipe.md").read_text()
