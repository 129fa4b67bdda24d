"""The scheduler's class decides: its own arithmetic and defaults, or a refusal by name. Solvers against diffusers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DModel,
    UniPCMultistepScheduler,
)
from torch import Tensor

from advkd.diffusion import Start
from advkd.teachers import SolverSpec, Teacher, TeacherError, load_teacher
from advkd.teachers.mixture import MixtureTeacher
from advkd.teachers.schedulers import ARITHMETIC, FLOW, VARIANCE_PRESERVING
from advkd.teachers.solving import scheduler_facts, solve, time_grid
from tests.advkd.conftest import SIZE, FolderMaker, tiny_unet
from tests.advkd.teachers.test_teachers import mixture_teacher, noise_of

DISCRETE = sorted(name for name, kind in ARITHMETIC.items() if kind == VARIANCE_PRESERVING)
REFUSED = (
    "CMStochasticIterativeScheduler",
    "DDIMInverseScheduler",
    "LCMScheduler",
    "ScoreSdeVeScheduler",
    "TCDScheduler",
    "MyScheduler",
)


@pytest.fixture
def under(teacher_folder: FolderMaker) -> Callable[..., Path]:
    """Makes a folder of the tiny network whose scheduler's config is exactly what is given."""

    def make(unet: UNet2DModel | None = None, **config: Any) -> Path:
        folder = teacher_folder("under", **({"unet": unet} if unet else {}))
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
        return folder

    return make


def states_of(teacher: Teacher, solver: SolverSpec, noise: Tensor) -> list[Tensor]:
    return list(teacher.states(Start(noise), solver, teacher.grid(solver).labels))


def looped(network: Any, scheduler: Any, noise: Tensor) -> Iterator[Tensor]:
    """The loop of diffusers' pipelines."""
    state = noise
    yield state
    with torch.no_grad():
        for time in scheduler.timesteps:
            state = scheduler.step(network(state, time).sample, time, state).prev_sample
            yield state


@pytest.mark.parametrize("name", REFUSED)
def test_other_classes_are_refused_by_name_with_the_list(under: Callable[..., Path], name: str) -> None:
    with pytest.raises(TeacherError, match=rf"must be one of \['DDIMScheduler', .*, got '{name}' in .*not known here"):
        load_teacher(str(under(_class_name=name)))


@pytest.mark.thorough
@pytest.mark.parametrize("name", DISCRETE)
def test_a_config_is_completed_by_its_own_class(under: Callable[..., Path], name: str) -> None:
    """Betas of an Euler or a PNDM are not those of a DDPM with the same keys, and most classes do not clip."""
    own = getattr(diffusers, name)()
    teacher = load_teacher(str(under(**{"_class_name": name, "num_train_timesteps": 500})))
    solver = SolverSpec(steps=10)
    facts = teacher.solver_config(solver)
    assert (facts["class"], facts["num_train_timesteps"]) == ("DDIMScheduler", 500)
    assert facts["clip_sample"] == own.config.get("clip_sample", False)
    longer = getattr(diffusers, name)(num_train_timesteps=500)
    times = list(teacher.grid(solver).labels[:-1])
    expected = torch.cumprod(1 - longer.betas, 0)[times].sqrt()
    torch.testing.assert_close(torch.tensor(teacher.grid(solver).signal[:-1]), expected, rtol=0, atol=1e-6)
    bound = states_of(teacher, solver, 40 * noise_of(2))[-1].abs().max()
    assert (bound <= 1.0) == bool(facts["clip_sample"])


def test_what_is_replaced_is_said(under: Callable[..., Path]) -> None:
    teacher = load_teacher(str(under(_class_name="DDPMScheduler", timestep_spacing="leading", clip_sample=True)))
    assert teacher.solver_config(SolverSpec())["replaced"] == {"timestep_spacing": ["leading", "trailing"]}
    assert teacher.solver_config(SolverSpec(kind="unipc"))["replaced"] == {
        "timestep_spacing": ["leading", "trailing"],
        "clip_sample": [True, False],
    }
    trailing = load_teacher(str(under(_class_name="DDIMScheduler", timestep_spacing="trailing", clip_sample=False)))
    assert "replaced" not in trailing.solver_config(SolverSpec())


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"])
@pytest.mark.parametrize("kind", ["ddim", "ddpm", "unipc", "dpmpp"])
def test_every_beta_schedule_of_diffusers_is_taken_by_every_solver(
    under: Callable[..., Path], schedule: str, kind: str
) -> None:
    teacher = load_teacher(str(under(_class_name="DDPMScheduler", beta_schedule=schedule)))
    alphas = diffusers.DDPMScheduler(beta_schedule=schedule).alphas_cumprod
    solver = SolverSpec(kind=kind, steps=10)
    grid = teacher.grid(solver)
    torch.testing.assert_close(torch.tensor(grid.signal[:-1]), alphas[list(grid.labels[:-1])].sqrt(), rtol=0, atol=1e-6)
    json.dumps(teacher.solver_config(solver), allow_nan=False)


def test_an_infinite_setting_is_no_obstacle(under: Callable[..., Path]) -> None:
    config = DPMSolverMultistepScheduler().config
    assert config.lambda_min_clipped == -float("inf")
    teacher = load_teacher(str(under(**dict(config), _class_name="DPMSolverMultistepScheduler")))
    for kind in ("ddim", "unipc", "dpmpp"):
        json.dumps(teacher.solver_config(SolverSpec(kind=kind)), allow_nan=False)


@pytest.mark.parametrize("kind", ["unipc", "dpmpp"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_fast_solvers_are_those_of_diffusers(under: Callable[..., Path], kind: str, prediction: str) -> None:
    teacher = load_teacher(str(under(_class_name="DDPMScheduler", prediction_type=prediction, clip_sample=False)))
    made = {
        "unipc": UniPCMultistepScheduler(
            prediction_type=prediction, solver_order=3, timestep_spacing="trailing", final_sigmas_type="zero",
            beta_start=1e-4, beta_end=0.02,
        ),
        "dpmpp": DPMSolverMultistepScheduler(
            prediction_type=prediction, timestep_spacing="trailing", final_sigmas_type="zero",
            beta_start=1e-4, beta_end=0.02,
        ),
    }[kind]  # fmt: skip
    made.set_timesteps(8)
    noise = noise_of(4)
    states = states_of(teacher, SolverSpec(kind=kind, steps=8), noise)
    assert len(states) == 9
    for mine, theirs in zip(states, looped(tiny_unet().eval(), made, noise), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_is_that_of_diffusers(under: Callable[..., Path], shift: float) -> None:
    teacher = load_teacher(str(under(_class_name="FlowMatchEulerDiscreteScheduler", shift=shift)))
    solver, scheduler = SolverSpec(kind="flow-euler", steps=7), FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(7)
    noise = noise_of(4)
    for mine, theirs in zip(
        states_of(teacher, solver, noise), looped(tiny_unet().eval(), scheduler, noise), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    grid = teacher.grid(solver)
    assert (grid.labels[0], grid.labels[-1], grid.sigma[0], grid.signal[-1]) == (1000, 0, 1.0, 1.0)
    assert all(a + s == pytest.approx(1.0) for a, s in zip(grid.signal, grid.sigma, strict=True))


def test_a_solver_that_does_not_fit_names_those_that_do(under: Callable[..., Path]) -> None:
    flow = load_teacher(str(under(_class_name="FlowMatchEulerDiscreteScheduler")))
    with pytest.raises(
        ValueError, match=r"flow matching teacher must be solved by one of \['flow-euler', 'flow-heun'\], got"
    ):
        flow.grid(SolverSpec())
    with pytest.raises(
        ValueError, match=r"solved by one of \['ddim', 'ddpm', 'dpmpp', 'heun', 'unipc'\], got 'flow-euler'"
    ):
        mixture_teacher(1, 2, (1, 2, 2), seed=1).grid(SolverSpec(kind="flow-euler"))


def test_a_prime_number_of_timesteps_has_fast_solvers(under: Callable[..., Path]) -> None:
    teacher = load_teacher(str(under(_class_name="DDPMScheduler", num_train_timesteps=997)))
    assert len(teacher.grid(SolverSpec(kind="unipc", steps=10)).labels) == 11
    with pytest.raises(ValueError, match=r"must divide the teacher's 997 timesteps, got 20.*unipc"):
        teacher.grid(SolverSpec())


def test_the_mean_half_of_a_network_that_learns_variances_is_used(under: Callable[..., Path]) -> None:
    torch.manual_seed(3)
    wide = UNet2DModel(
        sample_size=SIZE, in_channels=1, out_channels=2, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    config = {"_class_name": "DDPMScheduler", "variance_type": "learned_range", "clip_sample": False}
    teacher = load_teacher(str(under(unet=wide, **config)))
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(5)
    noise = noise_of(2)

    class Mean:
        def __call__(self, state: Tensor, time: Tensor) -> Any:
            output = wide.eval()(state, time)
            output.sample = output.sample[:, :1]
            return output

    for mine, theirs in zip(
        states_of(teacher, SolverSpec(steps=5), noise), looped(Mean(), scheduler, noise), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    *_, drawn = teacher.states(Start(noise), SolverSpec(kind="ddpm", steps=5), (999, 0), [1, 2])
    assert torch.isfinite(drawn).all()


def fine(teacher: MixtureTeacher, noise: Tensor) -> Tensor:
    *_, clean = teacher.states(Start(noise), SolverSpec(steps=1000), (999, 0))
    return clean


def test_fast_solvers_are_nearer_to_the_solution_than_twice_their_steps_of_ddim() -> None:
    teacher = mixture_teacher(3, 4, (1, 4, 4), seed=4)
    noise = noise_of(64, (1, 4, 4))
    solution = fine(teacher, noise)
    errors = {
        kind: (states_of(teacher, SolverSpec(kind=kind, steps=steps), noise)[-1] - solution).square().mean().sqrt()
        for kind, steps in (("ddim", 20), ("unipc", 10), ("dpmpp", 10))
    }
    assert errors["unipc"] < errors["ddim"]
    assert errors["dpmpp"] < errors["ddim"]


def test_flow_matching_of_the_closed_form_leads_where_its_diffusion_leads() -> None:
    """Both are one flow in other clothes: from the same noise they end at the same clean state."""
    teacher = mixture_teacher(3, 4, (1, 4, 4), seed=4)
    noise = noise_of(32, (1, 4, 4), torch.float64)

    def velocity(state: Tensor, time: Tensor) -> Tensor:
        share = float(time) / 1000
        return (state - teacher.posterior_mean(state, 1 - share, share)) / share

    config = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    solver = SolverSpec(kind="flow-euler", steps=500)
    *_, straight = solve(velocity, config, solver, noise, (1000, 0), None)
    torch.testing.assert_close(straight, fine(teacher, noise), rtol=0, atol=0.05)
    assert scheduler_facts(config, solver)["class"] == "FlowMatchEulerDiscreteScheduler"
    assert FLOW == "flow matching"


def test_facts_and_grids_are_those_of_their_own_config_and_solver_however_often_they_are_asked_for() -> None:
    config = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "clip_sample": False}
    ddim, fewer = SolverSpec(steps=10), SolverSpec(steps=5)
    first = scheduler_facts(config, ddim)
    first["beta_start"] = "changed by its receiver"
    assert scheduler_facts(config, ddim)["beta_start"] == 0.0001
    assert scheduler_facts(config | {"beta_start": 0.002}, ddim)["beta_start"] == 0.002
    assert scheduler_facts(config, SolverSpec(kind="ddpm", steps=10))["class"] == "DDPMScheduler"
    assert [len(time_grid(config, solver).labels) for solver in (ddim, fewer, ddim)] == [11, 6, 11]
    assert time_grid(config | {"num_train_timesteps": 500}, ddim).labels[0] == 499
    # Values that JSON does not know.
    betas = np.linspace(0.001, 0.01, 1000)
    assert time_grid(config | {"trained_betas": betas}, ddim).sigma != time_grid(config, ddim).sigma
