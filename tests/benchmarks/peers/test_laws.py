"""Laws of the peers' parts: what their papers' formulas must be on teachers whose flow is known."""

import math
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from torch import Tensor, nn

from advkd.diffusion import Start, TimeGrid
from advkd.teachers import SolverSpec, load_teacher
from advkd.teachers.mixture import MixtureTeacher
from benchmarks.peers.asking import StepByStep
from benchmarks.peers.consistency import Consistent
from benchmarks.peers.network import LevelAndClass
from benchmarks.peers.rectified import LEVELS, annealed, annealing, two_steps
from benchmarks.peers.temporal import TemporalLayer
from tests.advkd.conftest import tiny_unet
from tests.advkd.evaluation.parts import gaussian_teacher
from tests.advkd.teachers.closed_form import CONFIGS, ClosedForm
from tests.benchmarks.peers.closed_form import Colours, colours

FIRST_ORDER = {"flow": "flow-euler", "edm": "edm-euler", "edm v": "edm-euler"}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("predicts", CONFIGS)
def test_single_steps_are_the_teachers_own_solution(predicts: str) -> None:
    teacher = ClosedForm(gaussian_teacher(shape=(1, 8, 8)), predicts)
    solver = SolverSpec(kind=FIRST_ORDER.get(predicts, "ddim"), steps=10)
    asked = StepByStep(teacher, 10)
    states = list(teacher.states(Start(normal(4, 1, 8, 8)), solver, teacher.grid(solver).labels))
    assert asked.grid == teacher.grid(solver)
    # Each sample at another place.
    places = torch.tensor([0, 3, 8, 9])
    rows = torch.arange(4)
    following = asked.step(torch.stack(states)[places, rows], places, {})
    torch.testing.assert_close(following, torch.stack(states)[places + 1, rows], rtol=1e-3, atol=1e-4)
    assert asked.passes == 4


def test_a_step_under_guidance_is_the_teachers_and_costs_two_passes(tmp_path: Path) -> None:
    unet = tiny_unet(in_channels=3, out_channels=3, num_class_embeds=5)
    DDPMPipeline(unet, DDPMScheduler(clip_sample=False)).save_pretrained(tmp_path / "guided")
    teacher = load_teacher(f"{tmp_path / 'guided'}#guidance=2&null=4")
    asked, solver = StepByStep(teacher, 10), SolverSpec(steps=10)
    told = {"class_labels": torch.tensor([0, 3])}
    states = torch.stack(list(teacher.states(Start(normal(2, 3, 8, 8), told), solver, teacher.grid(solver).labels)))
    places = torch.tensor([2, 5])
    following = asked.step(states[places, torch.arange(2)], places, told)
    torch.testing.assert_close(following, states[places + 1, torch.arange(2)], rtol=1e-3, atol=1e-3)
    assert asked.passes == 4


def test_a_closed_form_teacher_is_asked_too() -> None:
    teacher = gaussian_teacher(shape=(1, 8, 8))
    asked, solver = StepByStep(teacher, 20), SolverSpec(steps=20)
    states = torch.stack(list(teacher.states(Start(normal(2, 1, 8, 8)), solver, teacher.grid(solver).labels)))
    places = torch.tensor([4, 4])
    torch.testing.assert_close(asked.step(states[4], places, {}), states[5], rtol=1e-4, atol=1e-5)


def test_who_says_nothing_of_a_single_state_is_refused() -> None:
    class Closed:
        name = "closed"

    with pytest.raises(ValueError, match=r"needs a teacher with a network \(NetworkTeacher\), got Closed 'closed'"):
        StepByStep(Closed(), 20)  # type: ignore[arg-type]
    mixture = load_teacher("mixture")
    assert isinstance(mixture, MixtureTeacher)
    with pytest.raises(ValueError, match="'mixture', which none takes with 7 steps; leave the peer out"):
        StepByStep(mixture, 7)


class Exact(nn.Module):
    """The network that makes `Consistent` the exact flow of colours."""

    def __init__(self, teacher: Colours, grid: TimeGrid, deviation: float) -> None:
        super().__init__()
        self.teacher, self.grid, self.deviation = teacher, grid, deviation

    def forward(self, seen: Tensor, places: Tensor, class_labels: Tensor) -> Tensor:
        made = []
        for row, place in enumerate(places.tolist()):
            a, s = self.grid.signal[place], self.grid.sigma[place]
            scale = math.sqrt(s**2 + (a * self.deviation) ** 2)
            state = scale * seen[row : row + 1]
            clean = self.teacher.flow(state, {"class_labels": class_labels[row : row + 1]}, a * a)
            made.append((clean - self.deviation**2 * a / scale**2 * state) * scale / (self.deviation * s))
        return torch.cat(made)


class Loud(nn.Module):
    """A network that should not be heard."""

    def forward(self, states: Tensor, places: Tensor, class_labels: Tensor) -> Tensor:
        return torch.full_like(states, 1e3)


def test_a_consistent_function_is_the_flow_and_keeps_clean_states() -> None:
    teacher = colours("cpu")
    grid = teacher.grid(SolverSpec(steps=20))
    whole = Consistent(Exact(teacher, grid, 0.5), grid, 0.5)  # type: ignore[arg-type]
    labels, noise = torch.tensor([0, 1, 2, 0]), normal(4, 3, 8, 8)
    states = list(teacher.states(Start(noise, {"class_labels": labels}), SolverSpec(kind="unipc", steps=100), (999, 0)))
    led = whole(noise, torch.zeros(4, dtype=torch.int64), class_labels=labels)
    torch.testing.assert_close(led, states[-1], rtol=0.02, atol=0.02)
    last = torch.full((4,), len(grid.labels) - 1)
    loud = Consistent(Loud(), grid, 0.5)  # type: ignore[arg-type]
    torch.testing.assert_close(loud(states[-1], last, class_labels=labels), states[-1])


def test_coefficients_are_finite_where_there_is_no_signal() -> None:
    grid = TimeGrid((2, 1, 0), (0.0, 0.5, 1.0), (1.0, 0.5, 0.0))
    whole = Consistent(nn.Identity(), grid, 0.5)  # type: ignore[arg-type]
    assert [round(float(value), 6) for value in (whole.skip[0], whole.out[0], whole.into[0])] == [0.0, 0.5, 1.0]


def test_a_temporal_layer_multiplies_frequencies() -> None:
    layer = TemporalLayer(4, 3)
    hidden = normal(2 * 4, 3, 5, 6)
    torch.testing.assert_close(layer(hidden), hidden)
    with torch.no_grad():
        layer.modes.copy_(normal(*layer.modes.shape, seed=1))
        # The first and the middle frequency of real signals are real.
        layer.modes[:, :, 1, [0, 2]] = 0.0
        moved = layer(hidden) - hidden
    kernel = torch.complex(layer.modes[:, :, 0], layer.modes[:, :, 1])
    frequencies = torch.fft.rfft(hidden.unflatten(0, (2, 4)), dim=1)
    expected = torch.fft.irfft(torch.einsum("oik,bkihw->bkohw", kernel, frequencies), n=4, dim=1).flatten(0, 1)
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-4)


def test_annealed_noises_stay_unit_normal_and_end_as_the_teachers_own() -> None:
    noise, fresh = normal(1, 1, 200, 200), normal(1, 1, 200, 200, seed=1)
    assert annealing(0.0) == 1.0
    assert annealing(0.4) == 0.0
    torch.testing.assert_close(annealed(noise, fresh, 0.0), noise)
    torch.testing.assert_close(annealed(noise, fresh, 1.0), fresh)
    assert annealed(noise, fresh, 0.6).std().item() == pytest.approx(1.0, abs=0.02)


def test_two_steps_of_a_straight_flow_end_where_its_line_ends() -> None:
    clean, seen = normal(2, 1, 4, 4), []

    def flow(states: Tensor, levels: Tensor) -> Tensor:
        seen.append((states, levels.tolist()))
        return clean

    noise = normal(2, 1, 4, 4, seed=1)
    torch.testing.assert_close(two_steps(flow, noise, {}), clean)  # type: ignore[arg-type]
    torch.testing.assert_close(seen[1][0], (noise + clean) / 2)
    # The levels of times 1 and 1/2.
    assert [levels[0] + 1 for _, levels in seen] == [LEVELS, LEVELS / 2]


def test_a_pair_of_level_and_class_is_embedded_as_the_sum_of_both() -> None:
    embedding = LevelAndClass(4, 3, 5)
    made = embedding(torch.tensor([2 * 3 + 1]))
    torch.testing.assert_close(made[0], embedding.of_level.weight[2] + embedding.of_class.weight[1])
