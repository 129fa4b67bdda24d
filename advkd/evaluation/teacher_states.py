"""The teacher's states that a student is compared with, on the evaluation's own noises, cached by content.

Sample i of an evaluation has the noise of index `EVALUATION_START + i`. A store's samples count from 0, so that no
noise of an evaluation was ever trained on, whichever base seeds the two have.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from advkd.diffusion import CLEAN, solver_grid
from advkd.evaluation.arrays import content_digest, read_arrays, write_arrays
from advkd.evaluation.errors import EvaluationError
from advkd.teachers import SolverSpec, Teacher
from storage.objects import join
from storage.records import initial_noise

EVALUATION_START = 2**40
BATCH = 128
MIN_SOLVER_STEPS = 20


def evaluation_noise(seed: int, count: int, shape: Sequence[int]) -> Tensor:
    """The first `count` noises of an evaluation: float32 `[count, C, H, W]`."""
    return torch.from_numpy(initial_noise(seed, EVALUATION_START, EVALUATION_START + count, shape))


def teacher_states(
    teacher: Teacher,
    noise: Tensor,
    steps: int,
    timesteps: Sequence[int],
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """The states of deterministic DDIM with `steps` steps at `timesteps`, noise first: float32 `[K + 1, N, C, H, W]`.

    `progress(passes)` counts network passes per image since the last call.

    Raises:
        EvaluationError: NaN or infinity in a state.
    """
    solver = SolverSpec(kind="ddim", steps=steps)
    batches = []
    for batch in torch.split(noise, BATCH):
        states = torch.stack([state.float().cpu() for state in teacher.states(batch, solver, timesteps)])
        if not bool(torch.isfinite(states).all()):
            raise EvaluationError(
                f"a teacher's states must be finite, got NaN or infinity from {teacher.name!r} at {steps} steps; "
                "check its weights and its scheduler's settings"
            )
        batches.append(states)
        if progress is not None:
            progress(len(batch) * steps)
    return torch.cat(batches, dim=1).contiguous()


def clean_timesteps(teacher: Teacher) -> tuple[int, int]:
    """The time grid of someone who wants the final state only."""
    return (teacher.schedule.train_timesteps - 1, CLEAN)


def solver_steps_for(teacher: Teacher, timesteps: Sequence[int], asked: int | None = None) -> int:
    """Solver steps whose grid holds all of a student's timesteps: those asked for, or the fewest from 20 on.

    Raises:
        EvaluationError: no such number of steps.
    """
    total = teacher.schedule.train_timesteps
    candidates = [asked] if asked else [n for n in range(min(MIN_SOLVER_STEPS, total), total + 1) if total % n == 0]
    for steps in candidates:
        if set(timesteps) <= set(solver_grid(total, steps)):
            return steps
    raise EvaluationError(
        f"a student's timesteps must be on the grid of its teacher's solver, got {tuple(timesteps)} where "
        f"{f'{asked} steps do not' if asked else f'no solver over {total} timesteps does'} pass through all of them; "
        "give the teacher that it was trained from"
    )


def teacher_trajectory(
    teacher: Teacher,
    *,
    steps: int,
    timesteps: Sequence[int],
    seed: int,
    count: int,
    root: str,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The states at `timesteps` of the first `count` evaluation noises, from the cache below `root` if they are there.

    Returns float32 `[K + 1, count, C, H, W]`. `progress(done passes, total passes)` is called only to compute them.
    """
    facts = {
        "kind": "trajectory",
        "layout": 1,
        "teacher": teacher.fingerprint,
        "solver": teacher.solver_config(SolverSpec(steps=steps)),
        "steps": steps,
        "timesteps": list(timesteps),
        "seed": seed,
        "first_index": EVALUATION_START,
        "count": count,
    }
    uri = join(root, "trajectories", f"{content_digest(facts)}.npz")
    cached = read_arrays(uri, facts)
    if cached is not None:
        return torch.from_numpy(cached["states"])
    counter = PassCounter(count * steps, progress)
    states = teacher_states(teacher, evaluation_noise(seed, count, teacher.sample_shape), steps, timesteps, counter.add)
    write_arrays(uri, facts, {"states": states.numpy()})
    return states


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
