"""Which solver fits a teacher, where none is named."""

from advkd.teachers.base import AUTO, SolverSpec, Teacher
from advkd.teachers.solvers import SOLVERS

_PREFERRED = ("unipc", "flow-euler", "edm-dpmpp", "ddim")


def fitting_solver(solver: SolverSpec, teacher: Teacher) -> SolverSpec:
    """Returns the solver itself, or for "auto" the first deterministic one that the teacher takes.

    UniPC comes first: its states are the nearest to a fine solution (`docs/benchmarks/solvers.md`).

    Raises:
        ValueError: no deterministic solver of the table takes the teacher and the number of steps.
    """
    if solver.kind != AUTO:
        return solver
    refusals = []
    for kind in (*_PREFERRED, *sorted(set(SOLVERS) - set(_PREFERRED))):
        if not SOLVERS[kind].deterministic:
            continue
        chosen = SolverSpec(kind=kind, steps=solver.steps)
        try:
            teacher.grid(chosen)
        except ValueError as error:
            refusals.append(f"{kind}: {error}")
        else:
            return chosen
    raise ValueError(
        f"a teacher must have a deterministic solver of {solver.steps} steps, got none that takes {teacher.name!r} "
        f"({'; '.join(refusals)}); choose another number of steps"
    )
