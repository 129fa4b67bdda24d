"""Whether a network predicts what its scheduler's `prediction_type` says, found out by a few passes.

A wrong word there gives garbage without an error. A teacher is refused only where the evidence for another prediction
is strong; random weights, and networks that are not sure of anything, pass.

- At the noisiest timestep a network that predicts noise returns its input (docs/method.md 2). Others do not.
- Where another prediction leads from noise to clean states that differ among each other, and from these states with a
  little noise back to them, it is the right one, unless the one that was said does the same.
"""

import math
from typing import cast

import torch
from torch import Tensor

from advkd.diffusion import clean_estimate, embedded, preconditioned_clean, start_of
from advkd.teachers.base import SolverSpec, Teacher
from advkd.teachers.errors import TeacherError
from advkd.teachers.network import NetworkTeacher
from advkd.teachers.noised import noised_states
from advkd.teachers.rehearsal import rehearsing
from advkd.teachers.schedulers import EDM, FLOW, PREDICTIONS, arithmetic_of, full_config, prediction_of
from advkd.teachers.solving import solve, time_grid
from storage.records import initial_noise

_SAMPLES, _STEPS = 4, 8
_SOLVERS = {EDM: "edm-dpmpp"}
_ECHO = 0.8
"""Share of the noise that an output must explain at the noisiest timestep, to be a prediction of noise."""
_LITTLE_NOISE = 0.3
"""`s_t / a_t` of the states that a network must lead back."""
_FOUND = 0.7
"""Share of that noise that it must find."""
_NOISY = 0.2
"""`a_t` from which on no state is mere noise."""


@torch.no_grad()
def check_prediction(teacher: Teacher) -> None:
    """Refuses a teacher whose network evidently predicts something else than its scheduler says.

    Costs one pass of two samples for a network that predicts noise, and at most 27 more of four for others. Teachers in
    Python that are no `NetworkTeacher`, those of flow matching, and those of `#prediction=` are not looked at.

    Raises:
        TeacherError: the network predicts something else.
    """
    if not isinstance(teacher, NetworkTeacher) or teacher.vouched or arithmetic_of(teacher.scheduler) == FLOW:
        return
    teacher = cast("NetworkTeacher", rehearsing(teacher))
    arithmetic, said = arithmetic_of(teacher.scheduler), prediction_of(teacher.scheduler)
    try:
        grid = time_grid(teacher.scheduler, _solver(teacher))
    except ValueError:
        return
    if grid.signal[0] > _NOISY:
        return
    others = [other for other in PREDICTIONS[arithmetic] if other != said]
    if arithmetic != EDM:
        if _echoes(teacher):
            if said != "epsilon":
                raise _refusal(teacher, said, "epsilon")
            return
        others = [other for other in others if other != "epsilon"]
    leading = [other for other in others if _leads_back(teacher, other)]
    if leading and not _leads_back(teacher, said):
        raise _refusal(teacher, said, leading[0])


def _refusal(teacher: NetworkTeacher, said: str, other: str) -> TeacherError:
    return TeacherError(
        f"a teacher's scheduler must say what its network predicts, got prediction_type {said!r} for {teacher.name!r}, "
        f"whose network behaves as one for {other!r}; correct scheduler_config.json, or say which is right with "
        f"SOURCE#prediction={other} (or #prediction={said}, which is then taken without this check)"
    )


def _solver(teacher: NetworkTeacher) -> SolverSpec:
    return SolverSpec(kind=_SOLVERS.get(arithmetic_of(teacher.scheduler), "dpmpp"), steps=_STEPS)


def _noise(teacher: NetworkTeacher, count: int, seed: int) -> Tensor:
    return torch.from_numpy(initial_noise(seed, 0, count, teacher.space.shape)).to(teacher.device)


def _condition(teacher: NetworkTeacher, noise: Tensor) -> dict[str, Tensor]:
    start = start_of(noise, teacher.conditions, 0, range(len(noise)))
    return dict(embedded(teacher.conditions, start.condition))


def _echoes(teacher: NetworkTeacher) -> bool:
    """Whether the network returns its input at the last training timestep."""
    noise = _noise(teacher, 2, seed=0)
    last = torch.tensor(full_config(teacher.scheduler)["num_train_timesteps"] - 1)
    output = teacher.predict(noise, last, _condition(teacher, noise))[:, : noise.shape[1]]
    return 1.0 - _square(output - noise) / _square(noise) > _ECHO


def _leads_back(teacher: NetworkTeacher, prediction: str) -> bool:
    """Whether states that a prediction leads to differ, and the network finds them again below a little noise."""
    noise = _noise(teacher, _SAMPLES, seed=0)
    condition = _condition(teacher, noise)
    config = dict(teacher.scheduler) | {"prediction_type": prediction}
    solver = _solver(teacher)
    labels = time_grid(config, solver).labels
    *_, clean = solve(
        lambda state, time: teacher.predict(state, time, condition),
        config,
        solver,
        noise,
        (labels[0], labels[-1]),
        None,
    )
    drawn = _noise(teacher, _SAMPLES, seed=1)
    estimate, ratio = _estimated(teacher, prediction, clean, drawn, condition)
    spread, error = math.sqrt(_square(clean - clean.mean(0))), math.sqrt(_square(estimate - clean))
    return math.isfinite(error) and spread > ratio and 1.0 - (error / ratio) ** 2 > _FOUND


def _estimated(
    teacher: NetworkTeacher, prediction: str, clean: Tensor, noise: Tensor, condition: dict[str, Tensor]
) -> tuple[Tensor, float]:
    """Returns the clean estimate of clean states with a little noise, and `s_t / a_t` of these."""
    channels = clean.shape[1]
    noised = noised_states(teacher, clean, noise, _LITTLE_NOISE)
    output = teacher.predict(noised.seen, noised.time, condition)[:, :channels]
    if arithmetic_of(teacher.scheduler) == EDM:
        data = float(full_config(teacher.scheduler)["sigma_data"])
        return preconditioned_clean(prediction, output, noised.state, noised.ratio, data), noised.ratio
    return clean_estimate(prediction, output, noised.state, noised.signal, noised.sigma), noised.ratio


def _square(values: Tensor) -> float:
    return float(values.double().square().mean())
