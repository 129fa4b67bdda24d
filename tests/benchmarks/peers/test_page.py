"""The page: what it says of who is ahead, what a pass of the teacher costs, and what stays in it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import benchmarks.peers.__main__ as command
import benchmarks.peers.runs as kept_runs
from benchmarks.peers.page import row, verdict, written
from benchmarks.peers.training_free import Afforded, afforded, name_of, solutions_of
from tests.benchmarks.peers.closed_form import colours

FIGURES = {"worth": 5.0, "clamped": 0.0, "fd": 8.0, "kd": 0.1, "recall": 0.9, "precision": 0.9, "steps": 10.0}
COMMAND = ["peers", "--teacher", "tests.benchmarks.peers.closed_form:colours", "--trajectories", "256"]


def runs(*distances: float) -> list[dict[str, float]]:
    return [FIGURES | {"fd": distance} for distance in distances]


def test_who_is_ahead_is_said_plainly() -> None:
    said = verdict({"ours": runs(8.0), "pairs": runs(7.0), "temporal": runs(9.0)})
    assert said == (
        "Ahead of ours (FD 8.00): distillation of pairs (FD 7.00). One seed: differences of a tenth mean nothing."
    )
    said = verdict({"ours": runs(8.0, 9.0, 8.5), "pairs": runs(8.9, 10.0, 11.0), "temporal": runs(20.0, 21.0, 22.0)})
    assert said == (
        "Ahead of ours (FD 8.50): none of these peers. The seeds do not tell apart from ours: distillation of pairs."
    )


def test_a_row_has_medians_and_ranges_of_seeds() -> None:
    shown = row("pairs", "51 200", runs(8.0, 7.0, 12.0))
    assert shown[6] == "8.00 (7.00 to 12.00)"
    assert shown[-1] == "3"
    assert row("x", "-", [FIGURES | {"worth": 1.0, "clamped": 1.0}])[5] == "< 1.0"


@pytest.mark.parametrize(
    ("macs", "step", "milliseconds", "bought", "steps"),
    [
        (9e6, 4.5e7, 6.0, Afforded(by_work=0.2, by_time=0.5), (1, 2)),
        (9e7, 3e7, 66.0, Afforded(by_work=3.0, by_time=5.5), (1, 2, 3, 5)),
        (9e7, 0.0, 6.0, Afforded(by_work=None, by_time=0.5), (1, 2)),
    ],
)
def test_whole_steps_of_the_teacher_that_a_pass_pays(
    macs: float, step: float, milliseconds: float, bought: Afforded, steps: tuple[int, ...]
) -> None:
    figures = {"macs": macs, "teacher_macs": step, "milliseconds": milliseconds, "teacher_milliseconds": 12.0}
    assert afforded(figures) == bought
    assert bought.steps == steps


def test_solutions_are_named_as_their_papers_name_them() -> None:
    names = [name_of(solver) for solver in solutions_of(colours("cpu"), (1, 2))]
    assert names[0] == "teacher, 1 step of UniPC"
    assert names[-1] == "teacher, 2 steps of DPM-Solver++"


def test_another_teachers_section_stays(tmp_path: Path) -> None:
    page = tmp_path / "peers.md"
    written(page, "first", "## first\n\n| a |")
    written(page, "second", "## second")
    written(page, "first", "## first, again")
    text = page.read_text()
    assert "| a |" not in text
    assert text.index("## first, again") < text.index("## second")
    assert text.count("# Ours and its peers") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_command_compares_and_does_not_repeat_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def here(function: Any, *arguments: Any, **_: Any) -> Any:
        calls.append(arguments[0]["peer"])
        return function(*arguments)

    monkeypatch.setattr(kept_runs, "call", here)
    monkeypatch.setattr(command, "DOCS", tmp_path / "docs")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    options = ["--peers", "ours", "pairs", "--seconds", "0.2", "--seeds", "1", "--evaluation-samples", "48", "--write"]
    features = ["--features", "tests.benchmarks.peers.closed_form:means", "--root", str(tmp_path / "root")]
    monkeypatch.setattr(sys, "argv", [*COMMAND, *options, *features])
    command.main()
    first = capsys.readouterr().out
    command.main()
    assert calls == ["ours", "pairs"]
    assert capsys.readouterr().out == first
    assert "| distillation of pairs | 2 560 |" in first
    assert "teacher, 1 step of UniPC" in first
    assert "of one in milliseconds (batch 64), so it pays for " in first
    assert first.strip() in (tmp_path / "docs" / "benchmarks" / "peers.md").read_text()
    with Image.open(tmp_path / "docs" / "images" / "peers-colours-3.png") as picture:
        assert picture.height == 3 * (64 + 20)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--peers", "unknown"], "invalid choice: 'unknown'"),
        (["--seconds", "0"], "--seconds must be positive CPU seconds, got 0; give more"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0; use 1 or more"),
        (["--evaluation-samples", "0"], "--evaluation-samples must be at least 1, got 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [*COMMAND, *options])
    with pytest.raises(SystemExit):
        command.main()
    assert words in capsys.readouterr().err


def test_a_teacher_whose_images_nobody_reads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [*COMMAND, "--root", str(tmp_path)])
    with pytest.raises(ValueError, match="features of an extractor, got none for 'colours-3' by --features auto; name"):
        command.main()
    assert not list(tmp_path.iterdir())
