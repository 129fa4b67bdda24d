"""EDM's schedulers and Heun's methods against diffusers' own loops, and against the papers' algorithms."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
)
from torch import Tensor

from advkd.diffusion import Start
from advkd.teachers import AUTO, SolverSpec, Teacher, TeacherError, fitting_solver, load_teacher
from advkd.trajectories import PrecomputeSpec, precompute
from storage import open_store, verify
from tests.advkd.conftest import FolderMaker, tiny_unet
from tests.advkd.teachers.closed_form import ClosedForm
from tests.advkd.teachers.test_teachers import mixture_teacher, noise_of

Under = Callable[..., Path]


@pytest.fixture
def under(teacher_folder: FolderMaker) -> Under:
    def make(**config: Any) -> Path:
        folder = teacher_folder("under")
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
        return folder

    return make


def states_of(teacher: Teacher, solver: SolverSpec, noise: Tensor) -> list[Tensor]:
    return list(teacher.states(Start(noise), solver, teacher.grid(solver).labels))


def own_loop(scheduler: Any, start: Tensor) -> list[Tensor]:
    """The loop of diffusers' pipelines over `x_0 + sigma eps`; the state after every pass."""
    network, states = tiny_unet().eval(), [start]
    with torch.no_grad():
        for time in scheduler.timesteps:
            seen = scheduler.scale_model_input(states[-1], time)
            states.append(scheduler.step(network(seen, time).sample, time, states[-1]).prev_sample)
    return states


@pytest.mark.thorough
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("levels", [{}, {"sigma_max": 10.0, "sigma_min": 0.01, "sigma_data": 1.0, "rho": 5.0}])
@pytest.mark.parametrize("kind", ["edm-euler", "edm-dpmpp"])
def test_edm_is_that_of_diffusers_on_the_same_noise(
    under: Under, kind: str, levels: dict[str, float], prediction: str
) -> None:
    own = {"edm-euler": EDMEulerScheduler, "edm-dpmpp": EDMDPMSolverMultistepScheduler}[kind]
    teacher = load_teacher(str(under(_class_name=own.__name__, prediction_type=prediction, **levels)))
    scheduler = own(prediction_type=prediction, **levels)
    scheduler.set_timesteps(8)
    noise = noise_of(4)
    theirs = own_loop(scheduler, noise * scheduler.init_noise_sigma)
    states = states_of(teacher, SolverSpec(kind=kind, steps=8), noise)
    for mine, expected, sigma in zip(states, theirs, scheduler.sigmas, strict=True):
        torch.testing.assert_close(mine, expected / (sigma**2 + 1) ** 0.5, rtol=1e-4, atol=1e-5)


def test_edms_grid_has_unit_variance_and_the_levels_of_the_paper(under: Under) -> None:
    teacher = load_teacher(str(under(_class_name="EDMEulerScheduler")))
    for steps in (1, 2, 18, 1000):
        grid = teacher.grid(SolverSpec(kind="edm-euler", steps=steps))
        assert (grid.labels[0], grid.labels[-1], len(grid.labels)) == (1000, 0, steps + 1)
        assert all(a * a + s * s == pytest.approx(1.0) for a, s in zip(grid.signal, grid.sigma, strict=True))
        # Eq. 5 of the paper
        ramp = [k / max(1, steps - 1) for k in range(steps)]
        levels = [(80 ** (1 / 7) + r * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for r in ramp]
        found = [s / a for a, s in zip(grid.signal[:-1], grid.sigma[:-1], strict=True)]
        assert found == pytest.approx(levels, rel=1e-5)
    with pytest.raises(ValueError, match="at most 1000, got 1001; take fewer"):
        teacher.grid(SolverSpec(kind="edm-euler", steps=1001))


def test_edms_heun_is_algorithm_1_of_the_paper() -> None:
    mixture = mixture_teacher(3, 4, (1, 4, 4), seed=4)
    teacher, solver = ClosedForm(mixture, "edm"), SolverSpec(kind="edm-heun", steps=11)
    grid = teacher.grid(solver)
    assert len(grid.labels) == 7
    levels = [s / a for a, s in zip(grid.signal, grid.sigma, strict=True)]
    noise = noise_of(4, (1, 4, 4), torch.float64)
    state = noise * math.hypot(1, levels[0])
    for mine, (level, following) in zip(states_of(teacher, solver, noise)[1:], pairwise(levels), strict=True):
        slope = (state - mixture.posterior_mean(state, 1.0, level)) / level
        reached = state + (following - level) * slope
        if following:
            other = (reached - mixture.posterior_mean(reached, 1.0, following)) / following
            reached = state + (following - level) * (slope + other) / 2
        state = reached
        torch.testing.assert_close(mine.double(), state / math.hypot(1, following), rtol=0, atol=1e-4)


def test_heun_is_that_of_diffusers_from_the_same_start(under: Under) -> None:
    teacher = load_teacher(str(under(_class_name="DDPMScheduler", clip_sample=False)))
    scheduler = HeunDiscreteScheduler(beta_start=1e-4, beta_end=0.02, timestep_spacing="trailing")
    scheduler.set_timesteps(5)
    noise = noise_of(4)
    theirs = own_loop(scheduler, noise * (scheduler.sigmas[0] ** 2 + 1) ** 0.5)
    states = states_of(teacher, SolverSpec(kind="heun", steps=9), noise)
    assert (len(states), len(theirs)) == (6, 10)
    levels = [scheduler.sigmas[0], *scheduler.sigmas[1::2]]
    after = [theirs[0], *theirs[2::2], theirs[-1]]
    for mine, expected, sigma in zip(states, after, levels, strict=True):
        torch.testing.assert_close(mine, expected / (sigma**2 + 1) ** 0.5, rtol=1e-3, atol=1e-4)
    assert teacher.grid(SolverSpec(kind="heun", steps=9)).labels == (999, 799, 599, 399, 199, 0)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_heun_of_flow_matching_is_that_of_diffusers(under: Under, shift: float) -> None:
    teacher = load_teacher(str(under(_class_name="FlowMatchHeunDiscreteScheduler", shift=shift)))
    scheduler = FlowMatchHeunDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(4)
    noise, network = noise_of(4), tiny_unet().eval()
    states, state = [noise], noise
    with torch.no_grad():
        for number, time in enumerate(scheduler.timesteps, start=1):
            state = scheduler.step(network(state, time).sample, time, state).prev_sample
            if number % 2 == 0 or number == len(scheduler.timesteps):
                states.append(state)
    for mine, expected in zip(states_of(teacher, SolverSpec(kind="flow-heun", steps=7), noise), states, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)


def test_passes_of_heun_are_odd(under: Under) -> None:
    teacher = load_teacher(str(under(_class_name="DDPMScheduler")))
    with pytest.raises(ValueError, match="makes an odd number, got 10; take 9 or 11"):
        teacher.grid(SolverSpec(kind="heun", steps=10))


def test_heun_needs_some_signal_at_the_last_timestep(under: Under) -> None:
    config = {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    teacher = load_teacher(str(under(**config)))
    with pytest.raises(ValueError, match=r"heun needs some signal at the last timestep.*choose another solver"):
        teacher.grid(SolverSpec(kind="heun", steps=9))


@pytest.mark.thorough
def test_an_edm_teacher_is_cached_whole(under: Under, tmp_path: Path) -> None:
    source = str(under(_class_name="EDMDPMSolverMultistepScheduler", final_sigmas_type="sigma_min"))
    teacher = load_teacher(source)
    assert fitting_solver(SolverSpec(kind=AUTO, steps=8), teacher).kind == "edm-dpmpp"
    facts = teacher.solver_config(SolverSpec(kind="edm-heun", steps=9))
    assert facts["class"] == "EDMHeunScheduler"
    assert facts["replaced"] == {"final_sigmas_type": ["sigma_min", "zero"]}
    spec = PrecomputeSpec(
        teacher=source, store=str(tmp_path / "stores"), samples=8, block_samples=8, dtype="float32",
        solver=SolverSpec(kind=AUTO, steps=8), captures=4, shrink=0.5,
    )  # fmt: skip
    made = precompute(spec)
    assert verify(made.uri) == []
    identity = open_store(made.uri).manifest.spec
    assert (identity.sampler, identity.timesteps[0], identity.timesteps[-1]) == ("edm-dpmpp", 1000, 0)
    assert identity.sampler_config["class"] == "EDMDPMSolverMultistepScheduler"


def test_what_edm_does_not_know_is_refused(under: Under) -> None:
    with pytest.raises(
        TeacherError,
        match=r"of a preconditioned \(EDM\) teacher must be one of \('epsilon', 'v_prediction'\), got 'sam",
    ):
        load_teacher(str(under(_class_name="EDMEulerScheduler", prediction_type="sample")))
