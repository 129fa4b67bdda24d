"""The teacher's curve: solvers that need no training, at few and many passes, and the target of all.

The target is a fine solution of the ODE, not a solver's result at a number of steps that somebody is used to: 50 steps
of DDIM are further from it than 20 of UniPC (docs/benchmarks/solvers.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from advkd.evaluation.errors import EvaluationError
from advkd.teachers import SOLVERS, SolverSpec, Teacher

DDIM = "ddim"
TARGET_STEPS = 100
"""At first. Where half as many are too far from it, it is doubled, up to `MAX_TARGET_STEPS`."""
MAX_TARGET_STEPS = 400
FIRST_ORDER_STEPS = (1, 2, 4, 5, 10, 20, 50)
HIGHER_ORDER_STEPS = (2, 3, 4, 5, 6, 8, 10, 15, 20)
# From the nearest to a fine solution (docs/benchmarks/solvers.md) to what takes any teacher: the first that fits solves
# the target. Heun's method for noise schedules has no points: UniPC is nearer at every number of passes.
_STEPS: dict[str, tuple[int, ...]] = {
    "unipc": HIGHER_ORDER_STEPS,
    "dpmpp": HIGHER_ORDER_STEPS,
    "edm-dpmpp": HIGHER_ORDER_STEPS,
    "edm-heun": HIGHER_ORDER_STEPS,
    "flow-heun": HIGHER_ORDER_STEPS,
    "flow-euler": FIRST_ORDER_STEPS,
    "edm-euler": FIRST_ORDER_STEPS,
    DDIM: FIRST_ORDER_STEPS,
    "heun": (),
}
_NAMES = {"ddim": "DDIM", "unipc": "UniPC", "dpmpp": "DPM-Solver++"}


@dataclass(frozen=True)
class Curve:
    """Which solutions a teacher is measured at.

    Attributes:
        target: what everything is compared with.
        half: the same solver with half as many steps: its distance says how fine the target is.
        points: the solvers of the curve, those of fewer passes first.
    """

    target: SolverSpec
    half: SolverSpec
    points: tuple[SolverSpec, ...]

    @property
    def solutions(self) -> tuple[SolverSpec, ...]:
        """All solutions, the target first, each once."""
        return tuple(dict.fromkeys((self.target, self.half, *self.points)))


def curve_of(teacher: Teacher, target_steps: int = TARGET_STEPS) -> Curve:
    """Returns the curve of a teacher: every solver of the table above that fits it.

    Args:
        teacher: teacher with a deterministic solver.
        target_steps: steps of the target; fewer where the teacher has no grid so fine.

    Raises:
        EvaluationError: no deterministic solver fits the teacher.
    """
    deterministic = [name for name, row in SOLVERS.items() if row.deterministic]
    # Those that packages add come last.
    counts_of = {kind: _STEPS.get(kind, FIRST_ORDER_STEPS) for kind in dict.fromkeys((*_STEPS, *deterministic))}
    for kind in counts_of:
        steps = _fine_steps(teacher, kind, target_steps)
        if steps is not None:
            target, half = (SolverSpec(kind=kind, steps=passes) for passes in steps)
            break
    else:
        raise EvaluationError(
            f"a teacher is measured under a deterministic solver, got none that fits {teacher.name!r}; check its "
            "scheduler"
        )
    points = [
        SolverSpec(kind=kind, steps=steps)
        for kind, counts in sorted(counts_of.items(), key=lambda row: row[1] == HIGHER_ORDER_STEPS)
        for steps in counts
        if steps <= half.steps and fits(teacher, kind, steps)
    ]
    # Half of the target is a point as well.
    return Curve(target, half, tuple(sorted(dict.fromkeys((*points, half)), key=lambda solver: solver.steps)))


def finer(teacher: Teacher, curve: Curve) -> Curve | None:
    """Returns the curve with a target of twice the steps, None where there is none."""
    steps = 2 * curve.target.steps
    if steps > MAX_TARGET_STEPS or not fits(teacher, curve.target.kind, steps):
        return None
    return Curve(
        SolverSpec(kind=curve.target.kind, steps=steps),
        curve.target,
        (*curve.points, curve.target),
    )


def fits(teacher: Teacher, kind: str, steps: int) -> bool:
    """Returns whether a teacher has a grid of a solver."""
    try:
        teacher.grid(SolverSpec(kind=kind, steps=steps))
    except ValueError:
        return False
    return True


def passes_per_step(teacher: Teacher, solver: SolverSpec) -> int:
    """Returns the network passes of one solver step: two under guidance."""
    return 1 if teacher.solver_config(solver).get("guidance_scale") is None else 2


def solver_text(kind: str) -> str:
    """Returns a solver's name as its paper has it, where it is one of ours."""
    return _NAMES.get(kind, kind)


def solution_text(solver: SolverSpec) -> str:
    """Returns a solution's name in reports, such as "teacher@100 unipc"."""
    return f"teacher@{solver.steps} {solver.kind}"


def _fine_steps(teacher: Teacher, kind: str, wanted: int) -> tuple[int, int] | None:
    """Returns the steps of a target and of half of it, near what is wanted; Heun's methods take odd numbers."""
    for steps in _near(wanted):
        for half in (steps // 2, steps // 2 + 1):
            if half < steps and fits(teacher, kind, steps) and fits(teacher, kind, half):
                return steps, half
    return None


def _near(wanted: int) -> Iterator[int]:
    steps = wanted
    while steps >= 2:
        yield from (steps, steps + 1)
        steps //= 2
