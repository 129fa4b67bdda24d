"""`advkd plan` as it is typed."""

import json
from pathlib import Path

import pytest

from tests.advkd.cli.calls import Cli, assert_refused

pytestmark = pytest.mark.thorough


def test_it_says_what_a_distillation_costs_and_how_to_run_it(cli: Cli, tmp_path: Path) -> None:
    said = cli("plan", "digits", "--preset", "quick", "--width", 24, "--root", tmp_path)
    assert said.code == 0, said.err
    for part in (
        "1x16x16",
        "60.7 M multiply-adds a pass",
        "51,200 network passes",
        "width 24",
        "4 submodules",
        "curve is there",
    ):
        assert part in said.out
    assert said.out.splitlines()[-1].startswith(
        "python -m flows.distill --teacher digits --preset quick --changes '{\"width\": 24}'"
    )


def test_for_machines(cli: Cli, tmp_path: Path) -> None:
    plan = json.loads(cli("plan", "mixture", "--preset", "quick", "--root", tmp_path, "--json").out)
    assert plan["teacher"] == {"name": "mixture", "shape": [1, 16, 16], "parameters": None, "pass_multiply_adds": None}
    assert plan["student"] == {"parameters": 153_776, "multiply_adds": 9_584_640, "passes": None}
    assert plan["seconds"]["total"] > 0
    assert plan["training_bytes"] > 0


def test_what_cannot_be_met_is_refused(cli: Cli) -> None:
    assert_refused(cli("plan", "digits", "--preset", "quick", "--max-parameters", 100), "a target must leave room")
    assert_refused(cli("plan", "digits", "--preset", "quick", "--captures", 11), "captures")
    assert_refused(cli("plan", "digits", "--preset", "quick", "--budget", "soon"), "a budget must be a time")
    assert_refused(cli("plan", "digits", "--preset", "best"), "a preset must be one of")
    assert_refused(cli("plan", "digits-classes", "--preset", "paper"), "side is a power of two from 8 on, got 4x4")
