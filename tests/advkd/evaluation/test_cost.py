from pathlib import Path

import pytest
import torch

from advkd.evaluation import cost
from advkd.evaluation.cost import device_name, measure_cost
from advkd.teachers import SolverSpec, load_teacher
from tests.advkd.evaluation.parts import SHAPE, gaussian_teacher, make_student, save_tiny_pipeline

MIN_REPEATS, MAX_REPEATS = cost.MIN_REPEATS, cost.MAX_REPEATS


@pytest.fixture(autouse=True)
def _as_outside_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "MIN_REPEATS", MIN_REPEATS)
    monkeypatch.setattr(cost, "MAX_REPEATS", MAX_REPEATS)


@pytest.mark.thorough
def test_cost_of_student_and_network_teacher(tmp_path: Path) -> None:
    teacher = load_teacher(str(save_tiny_pipeline(tmp_path / "teacher")))
    student = make_student(teacher, width=8)
    before = torch.get_num_threads()
    measured = measure_cost(student, teacher, solver=SolverSpec(steps=4), threads=1, seconds=0.05)
    assert torch.get_num_threads() == before
    assert measured.threads == 1
    assert measured.student.passes == 1
    assert measured.teacher.passes == 4
    assert measured.student.params == sum(p.numel() for p in student.parameters())
    assert measured.teacher.params == sum(p.numel() for p in teacher.network.parameters())  # type: ignore[attr-defined]
    for part in (measured.student, measured.teacher):
        assert part.latency_ms.keys() == part.repeats.keys() == {1, 64}
        assert min(part.latency_ms.values()) > 0.0
        assert min(part.repeats.values()) >= 3
    # Four passes of a network that does more per pass.
    assert measured.teacher.latency_ms[64] > measured.student.latency_ms[64]
    again = measure_cost(student, teacher, solver=SolverSpec(steps=8), threads=1, seconds=0.01)
    assert again.teacher.macs == 2 * (measured.teacher.macs or 0)


def test_multiply_adds_are_those_of_the_convolutions() -> None:
    teacher = gaussian_teacher()
    measured = measure_cost(make_student(teacher, width=8), teacher, solver=SolverSpec(steps=2), seconds=0.01)
    positions, width, patch = 8 * 8, 8, 4
    stem, head, blocks = 9 * patch * width, 9 * width * patch, 4 * 2 * 9 * width * width
    assert measured.student.macs == positions * (stem + head + blocks)
    assert (measured.teacher.params, measured.teacher.macs) == (None, None)
    assert teacher.space.shape == SHAPE


def test_the_processor_is_named() -> None:
    assert len(device_name("cpu")) > 2
