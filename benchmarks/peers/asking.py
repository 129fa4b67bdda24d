"""One step of a teacher from any state, for methods that ask it while they train."""

from collections.abc import Mapping

import torch
from torch import Tensor

from advkd.diffusion import clean_estimate, embedded, preconditioned_clean, preconditioned_input
from advkd.evaluation.curve import passes_per_step
from advkd.teachers import NetworkTeacher, SolverSpec, Teacher
from advkd.teachers.mixture import MixtureTeacher
from advkd.teachers.schedulers import EDM, arithmetic_of, full_config, prediction_of
from advkd.teachers.solving import build_scheduler

FIRST_ORDER = ("ddim", "flow-euler", "edm-euler")


class StepByStep:
    """A teacher's solver of first order, a step at a time.

    Attributes:
        grid: the states that it passes through.
        passes: network passes so far; under guidance, two for every sample.
    """

    def __init__(self, teacher: Teacher, steps: int) -> None:
        """Finds the solver.

        Raises:
            ValueError: no solver of first order takes the teacher with so many steps, or nobody says what the teacher
                makes of a single state.
        """
        if not isinstance(teacher, NetworkTeacher | MixtureTeacher):
            raise ValueError(
                f"a peer that asks for single steps needs a teacher with a network (NetworkTeacher), got "
                f"{type(teacher).__name__} {teacher.name!r}; leave it out with --peers"
            )
        solver = _solver(teacher, steps)
        self.grid, self.passes = teacher.grid(solver), 0
        self._teacher, self._per_sample = teacher, passes_per_step(teacher, solver)
        if isinstance(teacher, NetworkTeacher):
            scheduler = build_scheduler(teacher.scheduler, solver)
            scheduler.set_timesteps(steps)
            self._times = list(scheduler.timesteps)

    @torch.no_grad()
    def step(self, states: Tensor, places: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Returns the states `[B, C, H, W]` at the places after `places` `[B]` of the grid, 0 the noise's."""
        following = torch.empty_like(states)
        for place in places.unique().tolist():
            rows = places == place
            told = {name: values[rows] for name, values in condition.items()}
            a, s = self.grid.signal[place], self.grid.sigma[place]
            clean = self.clean(states[rows], place, told).to(states.dtype)
            kept = self.grid.sigma[place + 1] / s
            # DDIM, Song et al. 2021, Eq. 12 with sigma = 0, which is Euler's step of the other two.
            following[rows] = kept * states[rows] + (self.grid.signal[place + 1] - a * kept) * clean
        return following

    @torch.no_grad()
    def clean(self, states: Tensor, place: int, condition: Mapping[str, Tensor]) -> Tensor:
        """Returns the clean estimates of states `[B, C, H, W]` at one place; costs a pass."""
        self.passes += self._per_sample * len(states)
        a, s = self.grid.signal[place], self.grid.sigma[place]
        teacher = self._teacher
        if isinstance(teacher, MixtureTeacher):
            return teacher.posterior_mean(states, a, s)
        told = embedded(teacher.conditions, condition)
        said, channels = prediction_of(teacher.scheduler), states.shape[1]
        if arithmetic_of(teacher.scheduler) == EDM:
            data = float(full_config(teacher.scheduler)["sigma_data"])
            output = teacher.predict(preconditioned_input(states, s / a, data), self._times[place], told)
            return preconditioned_clean(said, output[:, :channels], states, s / a, data)
        output = teacher.predict(states, self._times[place], told)[:, :channels]
        return clean_estimate(said, output, states, a, s)


def _solver(teacher: Teacher, steps: int) -> SolverSpec:
    for kind in FIRST_ORDER:
        solver = SolverSpec(kind=kind, steps=steps)
        try:
            teacher.grid(solver)
        except ValueError:
            continue
        return solver
    raise ValueError(
        f"a peer that asks for single steps needs a solver of first order ({', '.join(FIRST_ORDER)}), got "
        f"{teacher.name!r}, which none takes with {steps} steps; leave the peer out with --peers"
    )
