"""The teacher itself, without training, with as much work as a student's pass: multiply-adds, or milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass

from advkd.evaluation.curve import fits, solver_text
from advkd.evaluation.reference import Reference
from advkd.evaluation.scores import score
from advkd.evaluation.solutions import Solutions
from advkd.evaluation.worth import worth_passes
from advkd.features import Extractor
from advkd.teachers import SolverSpec, Teacher

KINDS = ("unipc", "dpmpp", "edm-dpmpp", "flow-heun", "flow-euler")
"""The best solvers without training; each teacher has those that take it."""
SHOWN = (1, 2)
"""Steps that are measured where a student's pass does not buy a single one."""


@dataclass(frozen=True, kw_only=True)
class Afforded:
    """How many steps of the teacher cost as much as one pass of a student.

    Attributes:
        by_work: by multiply-adds; None for a teacher without a network.
        by_time: by milliseconds for a batch of 64.
    """

    by_work: float | None
    by_time: float

    @property
    def whole(self) -> tuple[int, ...]:
        """Numbers of whole steps that a pass pays, by either."""
        return tuple(sorted({int(steps) for steps in (self.by_work, self.by_time) if steps is not None and steps >= 1}))

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of steps to be measured."""
        return tuple(sorted({*self.whole, *SHOWN}))


def afforded(student: Mapping[str, float]) -> Afforded:
    """Returns what the figures of a student's run buy (`measured.train_and_measure`)."""
    step = student["teacher_macs"]
    return Afforded(
        by_work=student["macs"] / step if step else None,
        by_time=student["milliseconds"] / student["teacher_milliseconds"],
    )


def solutions_of(teacher: Teacher, steps: tuple[int, ...]) -> list[SolverSpec]:
    """Returns the solutions of a teacher under the solvers that take it."""
    return [SolverSpec(kind=kind, steps=count) for count in steps for kind in KINDS if fits(teacher, kind, count)]


def measured(
    teacher: Teacher, solver: SolverSpec, extractor: Extractor, reference: Reference, root: str, seed: int, samples: int
) -> dict[str, float]:
    """Returns the figures of a solution, on the noises of the students."""
    kept = Solutions(teacher=teacher, extractors=(extractor,), root=root, seed=seed, samples=samples)
    (features,) = kept.sets(solver)
    scores = score(features, reference.target, extractor)
    worth = worth_passes(reference.distances, scores.fd.value)
    metrics = {name: metric for name, metric in vars(scores).items() if metric is not None}
    return {
        "worth": worth.passes,
        "clamped": float(worth.clamped),
        **{name: metric.value for name, metric in metrics.items()},
    }


def name_of(solver: SolverSpec) -> str:
    """Returns a solution's name in the page."""
    return f"teacher, {solver.steps} step{'s' * (solver.steps > 1)} of {solver_text(solver.kind)}"
