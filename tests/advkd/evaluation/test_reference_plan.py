import time
from pathlib import Path

import pytest

from advkd.device import torch_threads
from advkd.evaluation import reference_plan as module
from advkd.evaluation.curve import Curve, curve_of
from advkd.evaluation.reference import references_for
from advkd.evaluation.reference_plan import plan_reference
from advkd.features import digits_extractor
from advkd.teachers import SolverSpec, load_teacher
from tests.advkd.evaluation.parts import gaussian_teacher


def test_passes_are_those_of_all_solutions() -> None:
    plan = plan_reference(gaussian_teacher(), [digits_extractor()], 2048)
    assert plan.passes == 2048 * sum(solver.steps for solver in curve_of(gaussian_teacher()).solutions)
    assert plan.samples == 2048
    assert plan.seconds > 0


@pytest.mark.thorough
def test_under_guidance_they_are_two_per_step() -> None:
    passes = [
        plan_reference(load_teacher(f"digits-classes{guidance}"), [], 8).passes for guidance in ("", "#guidance=2")
    ]
    assert passes[1] == 2 * passes[0]


@pytest.mark.thorough
@pytest.mark.slow
def test_the_time_is_about_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, extractors = load_teacher("digits"), [digits_extractor()]
    solvers = tuple(SolverSpec(kind="unipc", steps=steps) for steps in (12, 6, 4))
    curve = Curve(solvers[0], solvers[1], solvers[1:])
    monkeypatch.setattr(module, "curve_of", lambda teacher: curve)
    taken, planned = [], []
    for run in range(3):
        planned.append(plan_reference(teacher, extractors, 64).seconds)
        began = time.process_time()
        with torch_threads(1):
            references_for(teacher, extractors, root=str(tmp_path / str(run)), curve=curve, samples=64)
        taken.append(time.process_time() - began)
    # The median of three; `make bench-evaluation` measures it closer.
    assert 0.3 < sorted(planned)[1] / sorted(taken)[1] < 3.0
