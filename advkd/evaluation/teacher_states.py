"""Computes the teacher's states that a student is compared with, on the evaluation's noises, and caches them.

Sample i of an evaluation has the noise of index `EVALUATION_START + i`. A store's samples count from 0, so an
evaluation never uses a noise of the training, whatever the base seeds.
"""

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from advkd.diffusion import Start, TimeGrid, start_of
from advkd.evaluation.errors import EvaluationError
from advkd.files import content_digest, read_arrays, write_arrays
from advkd.runtime import kept_heap
from advkd.teachers import SOLVERS, SolverSpec, Teacher, micro_batch
from storage.objects import join
from storage.records import initial_noise

EVALUATION_START = 2**40
BATCH = 128
MIN_SOLVER_STEPS, MAX_SOLVER_STEPS = 20, 1000


def evaluation_noise(seed: int, count: int, shape: Sequence[int]) -> Tensor:
    """Draws the first `count` noises of an evaluation: float32 `[count, C, H, W]`."""
    return torch.from_numpy(initial_noise(seed, EVALUATION_START, EVALUATION_START + count, shape))


def evaluation_start(teacher: Teacher, seed: int, count: int) -> Start:
    """Returns the first `count` starts of an evaluation: noises and, if the teacher has them, conditions."""
    return evaluation_part(teacher, seed, range(count))


def evaluation_part(teacher: Teacher, seed: int, rows: range) -> Start:
    """Returns some of the starts of an evaluation, which follow from (seed, i) alone."""
    indices = range(EVALUATION_START + rows.start, EVALUATION_START + rows.stop)
    noise = torch.from_numpy(initial_noise(seed, indices.start, indices.stop, teacher.space.shape))
    return start_of(noise, teacher.conditions, seed, indices)


@kept_heap()
def teacher_states(
    teacher: Teacher,
    start: Start,
    solver: SolverSpec,
    timesteps: Sequence[int],
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Computes the states of a deterministic solver at `timesteps`, noise first: float32 `[K + 1, N, C, H, W]`.

    Calls `progress(passes)` with the network passes per image since the last call.

    Raises:
        EvaluationError: a state holds NaN or infinity.
    """
    batches = []
    for batch in start.split(micro_batch(teacher, solver, BATCH).samples):
        states = torch.stack([state.float().cpu() for state in teacher.states(batch, solver, timesteps)])
        if not bool(torch.isfinite(states).all()):
            raise EvaluationError(
                f"a teacher's states must be finite, got NaN or infinity from {teacher.name!r} at {solver.steps} "
                "steps; check its weights and its scheduler's settings"
            )
        batches.append(states)
        if progress is not None:
            progress(len(batch) * solver.steps)
    return torch.cat(batches, dim=1).contiguous()


def clean_timesteps(teacher: Teacher, solver: SolverSpec) -> tuple[int, int]:
    """Returns the time grid of noise and final state."""
    labels = teacher.grid(solver).labels
    return labels[0], labels[-1]


def solver_grid_for(
    teacher: Teacher, kind: str | None, timesteps: Sequence[int], asked: int | None = None
) -> tuple[SolverSpec, TimeGrid]:
    """Returns the solver whose grid holds all of a student's timesteps, and its grid at these.

    Its steps are those asked for, or the fewest from 20 on; fewer where the teacher allows no 20. Where no kind is
    asked for, it is the first deterministic one of the table.

    Raises:
        EvaluationError: there is no such number of steps.
    """
    candidates = [asked] if asked else [*range(MIN_SOLVER_STEPS, MAX_SOLVER_STEPS + 1), *range(1, MIN_SOLVER_STEPS)]
    deterministic = sorted(
        (name for name, row in SOLVERS.items() if row.deterministic), key=lambda name: name != "ddim"
    )
    kinds = deterministic if kind is None else [kind]
    for name, steps in product(kinds, candidates):
        solver = SolverSpec(kind=name, steps=steps)
        try:
            grid = teacher.grid(solver)
            chosen = grid.at(timesteps)
        except ValueError:
            continue
        if grid.labels[0] == timesteps[0]:
            return solver, chosen
    name = kind or "solver"
    which = f"{asked} {name} steps do not" if asked else f"no number of {name} steps does"
    raise EvaluationError(
        f"a student's timesteps must be on the grid of its teacher's solver, got {tuple(timesteps)} where {which} "
        "start at the first and pass through all of them; give the teacher that it was trained from"
    )


def teacher_trajectory(
    teacher: Teacher,
    *,
    solver: SolverSpec,
    timesteps: Sequence[int],
    seed: int,
    rows: range,
    root: str,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Returns the states at `timesteps` of the evaluation noises of these numbers, cached below `root`.

    The states are float32 `[K + 1, N, C, H, W]` for N rows. Calls `progress(done passes, total passes)` if they are
    computed.
    """
    facts = {
        "kind": "trajectory",
        "layout": 1,
        "teacher": teacher.fingerprint,
        "solver": teacher.solver_config(solver),
        "steps": solver.steps,
        "timesteps": list(timesteps),
        "seed": seed,
        "first_index": EVALUATION_START + rows.start,
        "count": len(rows),
        **condition_facts(teacher),
    }
    uri = join(root, "trajectories", f"{content_digest(facts)}.npz")
    cached = read_arrays(uri, facts)
    if cached is not None:
        return torch.from_numpy(cached["states"])
    counter = PassCounter(len(rows) * solver.steps, progress)
    states = teacher_states(teacher, evaluation_part(teacher, seed, rows), solver, timesteps, counter.add)
    write_arrays(uri, facts, {"states": states.numpy()})
    return states


def condition_facts(teacher: Teacher) -> dict[str, object]:
    """Returns the conditions' facts, on which cached results of a teacher depend; empty without conditions."""
    return {} if teacher.conditions.facts is None else {"conditions": teacher.conditions.facts}


class PassCounter:
    """Turns passes since the last call into `progress(done, total)`."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.done = 0
        self.total = total
        self._progress = progress

    def add(self, passes: int) -> None:
        """Counts `passes` more."""
        self.done += passes
        if self._progress is not None:
            self._progress(self.done, self.total)

    def reach(self, done: int) -> None:
        """Counts what others have done too: `done` at least."""
        if done > self.done:
            self.add(done - self.done)
