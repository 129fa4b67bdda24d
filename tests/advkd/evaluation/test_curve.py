import pytest

from advkd.evaluation.curve import curve_of, finer, passes_per_step, solution_text
from advkd.evaluation.errors import EvaluationError
from advkd.teachers import SolverSpec, load_teacher
from tests.advkd.evaluation.parts import gaussian_teacher


def test_the_target_is_a_fine_solution_by_the_best_solver() -> None:
    curve = curve_of(gaussian_teacher())
    assert curve.target == SolverSpec(kind="unipc", steps=100)
    assert curve.half == SolverSpec(kind="unipc", steps=50)
    assert curve.half in curve.points
    assert curve.target not in curve.points
    assert solution_text(curve.target) == "teacher@100 unipc"


def test_the_curve_has_the_solvers_that_a_user_in_a_hurry_would_take() -> None:
    points = curve_of(gaussian_teacher()).points
    steps = {kind: [point.steps for point in points if point.kind == kind] for kind in ("ddim", "unipc", "dpmpp")}
    assert steps["ddim"] == [1, 2, 4, 5, 10, 20, 50]
    assert steps["unipc"] == [2, 3, 4, 5, 6, 8, 10, 15, 20, 50]
    assert steps["dpmpp"] == [2, 3, 4, 5, 6, 8, 10, 15, 20]
    assert {point.kind for point in points} == {"ddim", "unipc", "dpmpp"}
    assert sorted(points, key=lambda point: point.steps) == list(points)


def test_a_finer_target_keeps_every_solution_that_is_known() -> None:
    teacher = gaussian_teacher()
    curve = curve_of(teacher)
    next_one = finer(teacher, curve)
    assert next_one is not None
    assert next_one.target == SolverSpec(kind="unipc", steps=200)
    assert next_one.half == curve.target
    assert set(curve.solutions) <= set(next_one.solutions)
    last = finer(teacher, next_one)
    assert last is not None
    assert last.target.steps == 400
    assert finer(teacher, last) is None


def test_under_guidance_a_step_is_two_passes() -> None:
    plain, guided = load_teacher("digits-classes"), load_teacher("digits-classes#guidance=1.5")
    solver = SolverSpec(kind="unipc", steps=10)
    assert passes_per_step(plain, solver) == 1
    assert passes_per_step(guided, solver) == 2


def test_a_teacher_that_no_solver_fits_is_refused() -> None:
    class Unsolved:
        name = "unsolved"

        def grid(self, solver: SolverSpec) -> None:
            raise ValueError("no")

    with pytest.raises(EvaluationError, match="got none that fits 'unsolved'; check its scheduler"):
        curve_of(Unsolved())  # type: ignore[arg-type]
