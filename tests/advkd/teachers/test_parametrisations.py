"""Epsilon, v, sample, flow and EDM: schedule, skip and implied clean image of each, by the closed form in float64."""

from itertools import pairwise

import pytest
import torch

from advkd.diffusion import Start, implied_clean, skip_coefficients
from advkd.teachers import SolverSpec
from advkd.teachers.solving import solve
from tests.advkd.teachers.closed_form import CONFIGS, ClosedForm
from tests.advkd.teachers.test_teachers import mixture_teacher, noise_of

FIRST_ORDER = {"flow": "flow-euler", "edm": "edm-euler", "edm v": "edm-euler"}
SECOND_ORDER = {"flow": "flow-heun", "edm": "edm-heun", "edm v": "edm-heun"}
FAST = {"flow": "flow-euler", "edm": "edm-dpmpp", "edm v": "edm-dpmpp"}
SHAPE = (1, 4, 4)
MIXTURE = mixture_teacher(3, 4, SHAPE, seed=4)
EVERY = sorted(CONFIGS)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 5)])
@pytest.mark.parametrize("predicts", EVERY)
def test_states_follow_the_grid_and_imply_convex_combinations_of_the_clean_estimates(
    predicts: str, shape: tuple[int, int, int]
) -> None:
    """x_t' = (s'/s) x_t + (a' - a s'/s) x0_hat on the grid's own a and s, with x0_hat of the oracle alone."""
    mixture = mixture_teacher(3, 4, shape, seed=4)
    teacher, solver = ClosedForm(mixture, predicts), SolverSpec(kind=FIRST_ORDER.get(predicts, "ddim"), steps=10)
    grid, noise = teacher.grid(solver), noise_of(6, shape, torch.float64)
    states = list(solve(lambda x, t: teacher.predict(x, t, {}), teacher.scheduler, solver, noise, grid.labels, None))
    assert torch.equal(states[0], noise)
    found = skip_coefficients(grid.signal, grid.sigma)
    assert found.skip[-1] == 0.0
    assert found.gain[-1] == pytest.approx(1.0)
    expected, weights, estimates = noise, [], []
    levels = list(zip(grid.signal, grid.sigma, strict=True))
    for k, ((a, s), (after, less)) in enumerate(pairwise(levels)):
        estimates.append(mixture.posterior_mean(expected, a, s))
        keep, added = less / s, after - a * less / s
        expected = keep * expected + added * estimates[-1]
        weights = [keep * weight for weight in weights] + [added]
        # diffusers holds its levels, and of some schedulers the states too, in float32
        torch.testing.assert_close(states[k + 1], expected, rtol=0, atol=2e-4)
        shares = torch.tensor(weights, dtype=torch.float64) / found.gain[k]
        assert shares.min() >= 0
        assert float(shares.sum()) == pytest.approx(1.0)
        convex = torch.einsum("j,jbchw->bchw", shares, torch.stack(estimates))
        torch.testing.assert_close(
            implied_clean(expected, noise, found.skip[k], found.gain[k]), convex, rtol=0, atol=1e-9
        )


@pytest.mark.thorough
@pytest.mark.parametrize("predicts", EVERY)
def test_each_leads_from_the_same_noise_to_where_the_diffusion_leads(predicts: str) -> None:
    """All are one flow in other clothes; EDM's starts have other shares of the clean image, hence the tolerance."""
    noise = noise_of(32, SHAPE, torch.float64)
    *_, expected = MIXTURE.states(Start(noise), SolverSpec(steps=1000), (999, 0))
    teacher = ClosedForm(MIXTURE, predicts)
    solver = SolverSpec(kind=FAST.get(predicts, "dpmpp"), steps=500 if predicts == "flow" else 100)
    *_, clean = teacher.states(Start(noise), solver, (teacher.grid(solver).labels[0], 0))
    torch.testing.assert_close(clean.double(), expected, rtol=0, atol=0.05)


@pytest.mark.thorough
@pytest.mark.parametrize("predicts", EVERY)
def test_heuns_error_falls_with_the_square_of_the_step(predicts: str) -> None:
    teacher, noise = ClosedForm(MIXTURE, predicts), noise_of(16, SHAPE, torch.float64)
    # Diffusers' flow scheduler has a float32 state, so its finest error is measured where that does not count.
    kind = SECOND_ORDER.get(predicts, "heun")

    def clean(passes: int) -> torch.Tensor:
        solver = SolverSpec(kind=kind, steps=passes)
        before = teacher.passes
        *_, last = solve(
            lambda x, t: teacher.predict(x, t, {}),
            teacher.scheduler,
            solver,
            noise,
            (teacher.grid(solver).labels[0], 0),
            None,
        )
        assert teacher.passes - before == passes
        return last

    fine = clean(399)
    coarse, finer = ((clean(passes) - fine).square().mean().sqrt() for passes in (39, 79))
    assert finer < coarse / 2.5
