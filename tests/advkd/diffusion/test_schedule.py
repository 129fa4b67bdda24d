"""The schedule: diffusers' arithmetic, the skip law, and what the grid refuses."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from advkd.diffusion import (
    CLEAN,
    NoiseSchedule,
    Start,
    check_captures,
    implied_clean,
    linear_schedule,
    skip_coefficients,
    solver_grid,
    spread_captures,
)
from advkd.teachers.mixture import MixtureTeacher, digits_mixture_teacher

DIVISORS = [n for n in range(1, 1001) if 1000 % n == 0]
SCHEDULE = linear_schedule()


def ddim_coefficients(schedule: NoiseSchedule, timestep: int, target: int) -> tuple[float, float]:
    """`(p, q)` of the deterministic DDIM step `x_target = p x_t + q x0_hat` (Eq. 12 with sigma = 0)."""
    # Eq. 12, eps eliminated through x_t = a_t x_0 + s_t eps.
    keep = schedule.sigma(target) / schedule.sigma(timestep)
    return keep, schedule.signal(target) - schedule.signal(timestep) * keep


def ddim(steps: int, prediction_type: str = "sample") -> DDIMScheduler:
    scheduler = DDIMScheduler(prediction_type=prediction_type, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    return scheduler


def test_linear_schedule_is_that_of_diffusers() -> None:
    theirs = DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    assert SCHEDULE.alpha_bars == tuple(theirs.alphas_cumprod.tolist())
    assert SCHEDULE.train_timesteps == 1000


@pytest.mark.parametrize("steps", DIVISORS)
def test_solver_grid_is_trailing_spacing_and_the_clean_state(steps: int) -> None:
    grid = solver_grid(1000, steps)
    assert grid[:-1] == tuple(ddim(steps).timesteps.tolist())
    assert grid[-1] == CLEAN
    assert len(grid) == steps + 1


@pytest.mark.parametrize("steps", [0, -3, 1001])
def test_solver_grid_refuses_impossible_counts(steps: int) -> None:
    with pytest.raises(ValueError, match=rf"must lie in \[1, 1000\], got {steps};"):
        solver_grid(1000, steps)


def test_solver_grid_names_the_nearest_divisors() -> None:
    with pytest.raises(ValueError, match=r"must divide .* 1000 timesteps, got 30; use one of \[20, 25, 40\]"):
        solver_grid(1000, 30)


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 20, 50])
def test_ddim_coefficients_are_the_step_of_diffusers(steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    state = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=generator)
    clean = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=generator)
    scheduler, grid = ddim(steps), solver_grid(1000, steps)
    for time, target in pairwise(grid):
        keep, gain = ddim_coefficients(SCHEDULE, time, target)
        theirs = scheduler.step(clean, time, state, eta=0.0).prev_sample
        # diffusers holds its coefficients in float32
        torch.testing.assert_close(keep * state + gain * clean, theirs, rtol=2e-6, atol=2e-6)


def test_signal_and_sigma_are_on_the_unit_circle_and_clean_at_zero() -> None:
    assert (SCHEDULE.signal(CLEAN), SCHEDULE.sigma(CLEAN)) == (1.0, 0.0)
    for time in (1, 500, 999):
        assert SCHEDULE.signal(time) ** 2 + SCHEDULE.sigma(time) ** 2 == pytest.approx(1.0, abs=1e-15)
        assert SCHEDULE.signal(time) == pytest.approx(math.sqrt(SCHEDULE.alpha_bars[time]))
    for time in (-1, 1000):
        with pytest.raises(ValueError, match=rf"\[0, 999\], got {time};"):
            SCHEDULE.sigma(time)


@pytest.mark.parametrize("bad", [(), (0.5, 1.5), (math.nan,)])
def test_a_schedule_holds_numbers_between_zero_and_one(bad: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"alpha_bars must be numbers in \[0, 1\]"):
        NoiseSchedule(bad)


@pytest.mark.thorough
@given(times=st.sets(st.integers(1, 998), max_size=12))
def test_telescoped_ddim_steps_give_skip_and_gain_on_any_grid(times: set[int]) -> None:
    """By induction over single steps: x_k = skip_k x_T + sum_j c_j x0_j with c_j >= 0 that sum to gain_k."""
    grid = (999, *sorted(times, reverse=True), CLEAN)
    found = skip_coefficients([SCHEDULE.signal(t) for t in grid], [SCHEDULE.sigma(t) for t in grid])
    carried, weights = 1.0, []
    for k, (time, target) in enumerate(pairwise(grid)):
        keep, added = ddim_coefficients(SCHEDULE, time, target)
        carried, weights = carried * keep, [keep * w for w in weights] + [added]
        assert min(weights) >= 0.0
        assert found.skip[k] == pytest.approx(carried, rel=1e-9)
        assert found.gain[k] == pytest.approx(sum(weights), rel=1e-9)
    assert found.skip[-1] == 0.0


@settings(max_examples=15)
@given(data=st.data(), steps=st.sampled_from([1, 2, 4, 5, 8, 10]), seed=st.integers(0, 2**32 - 1))
def test_the_skip_law(data: st.DataObject, steps: int, seed: int) -> None:
    """F_k of the exact teacher is a convex combination of its clean estimates along the way, whatever is captured."""
    teacher = small_mixture()
    grid = solver_grid(1000, steps)
    kept = data.draw(st.sets(st.sampled_from(grid[1:-1]))) if steps > 1 else set()
    timesteps = (grid[0], *sorted(kept, reverse=True), CLEAN)
    noise = torch.randn(4, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    states, estimates, weights = {grid[0]: noise}, [], []
    combinations = {}
    for time, target in pairwise(grid):
        keep, added = ddim_coefficients(teacher.schedule, time, target)
        estimates.append(teacher.clean_estimate(states[time], time))
        states[target] = keep * states[time] + added * estimates[-1]
        weights = [keep * w for w in weights] + [added]
        combinations[target] = list(weights)
    found = skip_coefficients(
        [teacher.schedule.signal(t) for t in timesteps], [teacher.schedule.sigma(t) for t in timesteps]
    )
    assert found.skip[-1] == 0.0
    for k, time in enumerate(timesteps[1:]):
        shares = torch.tensor(combinations[time], dtype=torch.float64) / found.gain[k]
        assert (shares >= 0).all()
        torch.testing.assert_close(shares.sum(), torch.ones((), dtype=torch.float64), rtol=1e-9, atol=0)
        convex = torch.einsum("j,jbchw->bchw", shares, torch.stack(estimates[: len(shares)]))
        implied = implied_clean(states[time], noise, found.skip[k], found.gain[k])
        torch.testing.assert_close(implied, convex, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(implied, states[CLEAN], rtol=1e-12, atol=1e-12)


def small_mixture() -> MixtureTeacher:
    from tests.advkd.teachers.test_teachers import mixture_teacher

    return mixture_teacher(components=3, dims=2, shape=(1, 2, 2), seed=5)


def test_the_skip_law_holds_for_the_states_that_the_digits_teacher_yields() -> None:
    """With diffusers' own scheduler between: every F_k stays within the range of the clean estimates."""
    from advkd.teachers import SolverSpec

    teacher, grid = digits_mixture_teacher(), solver_grid(1000, 5)
    noise = torch.randn(8, *teacher.space.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    states = list(teacher.states(Start(noise), SolverSpec(steps=5), grid))
    found = skip_coefficients([teacher.schedule.signal(t) for t in grid], [teacher.schedule.sigma(t) for t in grid])
    clean = torch.stack([teacher.clean_estimate(x, t) for x, t in zip(states, grid[:-1], strict=False)])
    for k, state in enumerate(states[1:]):
        implied = implied_clean(state, noise, found.skip[k], found.gain[k])
        seen = clean[: k + 1]
        assert (implied <= seen.amax(0) + 1e-4).all()
        assert (implied >= seen.amin(0) - 1e-4).all()


def test_skip_coefficients_refuse_what_is_no_grid() -> None:
    with pytest.raises(ValueError, match="at least one more state, got 1 signal"):
        skip_coefficients([0.1], [0.9])
    with pytest.raises(ValueError, match="signal must grow along the time grid"):
        skip_coefficients([1.0, 0.1], [0.1, 0.9])


@given(steps=st.sampled_from(DIVISORS[:-1]), data=st.data())
def test_spread_captures_are_on_the_grid_and_hold_both_ends(steps: int, data: st.DataObject) -> None:
    grid = solver_grid(1000, steps)
    captures = data.draw(st.integers(1, steps))
    found = spread_captures(grid, captures)
    assert len(found) == captures + 1
    assert (found[0], found[-1]) == (999, CLEAN)
    assert check_captures(grid, found) == found
    gaps = [grid.index(b) - grid.index(a) for a, b in pairwise(found)]
    assert max(gaps) - min(gaps) <= 1


def test_even_captures_of_twenty_steps_are_every_fifth_state() -> None:
    assert spread_captures(solver_grid(1000, 20), 4) == (999, 749, 499, 249, 0)


@given(steps=st.sampled_from(DIVISORS[:-1]), shrink=st.floats(0.01, 1.0), data=st.data())
def test_shrinking_distances_are_those_asked_for_where_whole_steps_allow(
    steps: int, shrink: float, data: st.DataObject
) -> None:
    grid = solver_grid(1000, steps)
    captures = data.draw(st.integers(1, steps))
    found = spread_captures(grid, captures, shrink)
    assert len(found) == captures + 1
    assert check_captures(grid, found) == found
    gaps = [grid.index(b) - grid.index(a) for a, b in pairwise(found)]
    # Rounded, each is off by less than one; where none is left to share, each has one.
    assert all(later <= earlier + 1 for earlier, later in pairwise(gaps))
    exact = [steps * shrink**k * (1 - shrink) / (1 - shrink**captures) for k in range(captures)] if shrink < 1 else gaps
    if min(exact) >= 1:
        assert all(abs(gap - wanted) <= 1 for gap, wanted in zip(gaps, exact, strict=True))


def test_halved_distances_of_twenty_and_of_fifty_steps() -> None:
    assert spread_captures(solver_grid(1000, 20), 4, 0.5) == (999, 449, 199, 49, 0)
    assert spread_captures(solver_grid(1000, 50), 4, 0.5) == (999, 459, 199, 59, 0)


@pytest.mark.parametrize("shrink", [0.0, -0.5, 1.01, float("nan")])
def test_spread_captures_refuses_shares_that_do_not_shrink(shrink: float) -> None:
    with pytest.raises(ValueError, match=rf"shrink must lie in \(0, 1\], got {shrink};"):
        spread_captures(solver_grid(1000, 20), 4, shrink)


@pytest.mark.parametrize("captures", [0, -1, 5])
def test_spread_captures_refuses_impossible_counts(captures: int) -> None:
    with pytest.raises(ValueError, match=rf"captures must lie in \[1, 4\] .* got {captures};"):
        spread_captures(solver_grid(1000, 4), captures)


def test_spread_captures_refuses_to_keep_timestep_zero_beside_the_clean_state() -> None:
    grid = solver_grid(1000, 1000)
    with pytest.raises(ValueError, match="captures must be distinct times, got 1000"):
        spread_captures(grid, 1000)
    assert len(spread_captures(grid, 500)) == 501


def test_check_captures_completes_with_noise_and_clean() -> None:
    grid = solver_grid(1000, 5)
    assert check_captures(grid, (799, 399)) == (999, 799, 399, 0)
    assert check_captures(grid, (999, 0)) == (999, 0)
    assert check_captures(grid, (0,)) == (999, 0)


@pytest.mark.parametrize(
    ("timesteps", "message"),
    [
        ((0, 799), "must be strictly decreasing"),
        ((799, 799), "must be strictly decreasing"),
        ((), "must be strictly decreasing"),
        ((1999, 799), r"must lie in \[0, 999\].* got \[1999\]"),
        ((799, -1), r"must lie in \[0, 999\].* got \[-1\]"),
        ((799, 500, 0), r"must be on the grid of the solver, got \[500\] where 5 steps"),
    ],
)
def test_check_captures_says_what_is_wrong(timesteps: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_captures(solver_grid(1000, 5), timesteps)
