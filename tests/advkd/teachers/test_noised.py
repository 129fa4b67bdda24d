"""States with a stated share of noise, against diffusers' own schedulers."""

import json
import math

import pytest
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

from advkd.teachers import NetworkTeacher, load_teacher, noised_states
from tests.advkd.conftest import FolderMaker


def teacher_under(make: FolderMaker, **config: object) -> NetworkTeacher:
    folder = make("under")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    teacher = load_teacher(str(folder))
    assert isinstance(teacher, NetworkTeacher)
    return teacher


CLEAN, NOISE = torch.randn(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("ratio", [0.05, 0.5, 3.0])
def test_variance_preserving_ones_are_those_of_training(ratio: float, teacher_folder: FolderMaker) -> None:
    teacher = teacher_under(teacher_folder, _class_name="DDIMScheduler", beta_schedule="scaled_linear")
    noised = noised_states(teacher, CLEAN, NOISE, ratio)
    scheduler = DDIMScheduler(beta_schedule="scaled_linear")
    expected = scheduler.add_noise(CLEAN, NOISE, noised.time.expand(3))
    torch.testing.assert_close(noised.state, expected, rtol=0, atol=1e-6)
    assert noised.seen is noised.state
    assert noised.ratio == pytest.approx(ratio, rel=0.05)
    assert noised.signal**2 + noised.sigma**2 == pytest.approx(1)


def test_those_of_edm_are_preconditioned_as_its_scheduler_does(teacher_folder: FolderMaker) -> None:
    teacher = teacher_under(teacher_folder, _class_name="EDMEulerScheduler")
    noised = noised_states(teacher, CLEAN, NOISE, 0.7)
    scheduler = EDMEulerScheduler()
    seen = scheduler.precondition_inputs(CLEAN + 0.7 * NOISE, torch.tensor(0.7))
    torch.testing.assert_close(noised.seen, seen, rtol=0, atol=1e-6)
    torch.testing.assert_close(noised.time, scheduler.precondition_noise(torch.tensor(0.7)), rtol=0, atol=1e-6)
    torch.testing.assert_close(noised.state * math.hypot(1, 0.7), CLEAN + 0.7 * NOISE, rtol=0, atol=1e-6)
    assert noised.ratio == pytest.approx(0.7)


def test_those_of_flow_matching_lie_on_the_straight_line(teacher_folder: FolderMaker) -> None:
    teacher = teacher_under(teacher_folder, _class_name="FlowMatchEulerDiscreteScheduler", shift=3.0)
    noised = noised_states(teacher, CLEAN, NOISE, 0.25)
    scheduler = FlowMatchEulerDiscreteScheduler()
    time = scheduler.timesteps[scheduler.sigmas == 0.2]
    torch.testing.assert_close(noised.time, time[0], rtol=0, atol=1e-4)
    expected = scheduler.scale_noise(CLEAN, time.expand(3), NOISE)
    torch.testing.assert_close(noised.state, expected, rtol=0, atol=1e-6)
    assert noised.ratio == pytest.approx(0.25)
