"""The sampling loop: a solver's scheduler around the teacher's prediction."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor

from advkd.diffusion import CLEAN, TimeGrid, check_captures
from advkd.teachers.base import SolverSpec
from advkd.teachers.errors import TeacherError
from advkd.teachers.schedulers import Scheduler, arithmetic_of, full_config
from advkd.teachers.solvers import SOLVERS, set_passes

Made = TypeVar("Made")
Predict = Callable[[Tensor, Tensor], Tensor]
_REPLACED = (
    "timestep_spacing",
    "steps_offset",
    "set_alpha_to_one",
    "skip_prk_steps",
    "clip_sample",
    "thresholding",
    "use_karras_sigmas",
)
_REPLACED_WHERE_BOTH_HAVE_IT = ("final_sigmas_type",)
_KEPT: dict[tuple[object, ...], Any] = {}
"""Grids and facts, by all that they depend on: an evaluation asks hundreds of times, and a scheduler takes long."""
_MOST_KEPT = 256


def build_scheduler(config: Mapping[str, Any], solver: SolverSpec) -> Scheduler:
    """Builds the solver's scheduler from a teacher's config.

    Raises:
        ValueError: the solver does not solve networks that were trained in the teacher's way.
    """
    arithmetic = arithmetic_of(config)
    if SOLVERS[solver.kind].arithmetic != arithmetic:
        fitting = sorted(name for name, row in SOLVERS.items() if row.arithmetic == arithmetic)
        raise ValueError(
            f"a {arithmetic} teacher must be solved by one of {fitting}, got {solver.kind!r}; choose one with --solver"
        )
    return SOLVERS[solver.kind].build(config)


def time_grid(config: Mapping[str, Any], solver: SolverSpec) -> TimeGrid:
    """Returns all states that a solver passes through; raises `ValueError` as `build_scheduler` and its grid do."""
    row = SOLVERS[solver.kind]
    return _kept(
        (row.grid, solver.steps), config, solver, lambda: row.grid(build_scheduler(config, solver), solver.steps)
    )


def scheduler_facts(config: Mapping[str, Any], solver: SolverSpec) -> dict[str, Any]:
    """Returns the scheduler's class and config as plain JSON, without diffusers' private keys.

    `replaced` lists the settings of the teacher's own scheduler that the solver does not follow: [its own, the used].
    """
    # A copy, which may be changed.
    return deepcopy(_kept((scheduler_facts,), config, solver, lambda: _scheduler_facts(config, solver)))


def _kept(what: tuple[object, ...], config: Mapping[str, Any], solver: SolverSpec, make: Callable[[], Made]) -> Made:
    try:
        key = (*what, solver.kind, SOLVERS[solver.kind].build, json.dumps(config, sort_keys=True))
    except TypeError:
        # Of values that JSON does not know, a text need not hold all.
        return make()
    # Other threads may empty it at any time.
    kept: Made | None = _KEPT.get(key)
    if kept is None:
        kept = make()
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.clear()
        _KEPT[key] = kept
    return kept


def _scheduler_facts(config: Mapping[str, Any], solver: SolverSpec) -> dict[str, Any]:
    scheduler = build_scheduler(config, solver)
    used = {key: _plain(value) for key, value in scheduler.config.items() if not key.startswith("_")}
    if isinstance(used.get("trained_betas"), list):
        betas = json.dumps(used["trained_betas"]).encode()
        used["trained_betas"] = f"sha256:{hashlib.sha256(betas).hexdigest()}"
    # What a pipeline tells its scheduler for one size of images.
    used |= {name[1:]: config[name] for name in ("_mu", "_even") if name in config}
    own = full_config(config)
    # What a scheduler does not know, it does not do; but all solvers end at the clean state.
    known = {"set_alpha_to_one": True} | used
    pairs = {key: [own.get(key, False), known.get(key, False)] for key in _REPLACED if key in own}
    pairs |= {key: [own[key], used[key]] for key in _REPLACED_WHERE_BOTH_HAVE_IT if key in own and key in used}
    replaced = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    kinds = type(getattr(scheduler, "inner", scheduler)).__mro__
    name = next(kind.__name__ for kind in kinds if not kind.__name__.startswith("_"))
    return {"class": name, **used} | ({"replaced": replaced} if replaced else {})


def _plain(value: Any) -> Any:
    """JSON has no infinity: DPM-Solvers' configs do."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@torch.no_grad()
def solve(
    predict: Predict,
    config: Mapping[str, Any],
    solver: SolverSpec,
    noise: Tensor,
    labels: Sequence[int],
    seeds: Sequence[int] | None,
) -> Iterator[Tensor]:
    """Yields the states at `labels` of one batch, each `[B, C, H, W]`.

    Args:
        predict: returns the network's prediction for a state and a time, a scalar as the scheduler has it; its
            config says what it predicts (noise, velocity or the clean image). Channels beyond C are a predicted
            variance.
        config: config of the teacher's scheduler.
        solver: the solver and its number of steps.
        noise: x_T.
        labels: labels of the wanted states, from the noise's to the clean state's.
        seeds: one per sample, for a stochastic solver.

    Raises:
        ValueError: `labels` lack the noise or the clean state, or a stochastic solver has no seeds.
        TeacherError: what `predict` returns is no prediction for its states.
    """
    row, scheduler = SOLVERS[solver.kind], build_scheduler(config, solver)
    grid = row.grid(scheduler, solver.steps).labels
    if tuple(labels) != check_captures(grid, labels):
        raise ValueError(
            f"timesteps must begin with the noise's ({grid[0]}) and end with the clean state's (0), got "
            f"{tuple(labels)}; complete them with check_captures"
        )
    arguments = {**row.arguments, **_generators(solver, noise, seeds)}
    set_passes(scheduler, solver.steps)
    times, wanted, channels = list(scheduler.timesteps), set(labels), noise.shape[1]
    order, seen_by_network = getattr(scheduler, "order", 1), getattr(scheduler, "scale_model_input", _unscaled)
    state, place, last = noise, 0, len(grid) - 1
    yield state
    for number, time in enumerate(times, start=1):
        predicted = _checked(predict(seen_by_network(state, time), time), state)
        if not row.learned_variance:
            predicted = predicted[:, :channels]
        state = scheduler.step(predicted, time, state, return_dict=True, **arguments).prev_sample
        # The other passes of a second order only correct a step.
        if number % order == 0 or number == len(times):
            place += 1
            if grid[place] in wanted and (grid[place] != CLEAN or place == last):
                yield state
    assert place == last, (place, grid)


def _checked(predicted: object, state: Tensor) -> Tensor:
    if isinstance(predicted, Tensor) and predicted.ndim == state.ndim:
        sizes, wanted = predicted.shape, state.shape
        if (sizes[0], *sizes[2:]) == (wanted[0], *wanted[2:]) and sizes[1] >= wanted[1]:
            return predicted
    what = list(predicted.shape) if isinstance(predicted, Tensor) else type(predicted).__name__
    raise TeacherError(
        f"a teacher must predict a tensor like its states, {list(state.shape)}, perhaps with a variance's channels "
        f"behind theirs, got {what}; correct its predict, or its space"
    )


def _unscaled(state: Tensor, time: Tensor) -> Tensor:
    return state


def _generators(solver: SolverSpec, noise: Tensor, seeds: Sequence[int] | None) -> dict[str, object]:
    if solver.deterministic:
        return {}
    if seeds is None or len(seeds) != len(noise):
        raise ValueError(
            f"a stochastic solver needs one seed per sample, got {0 if seeds is None else len(seeds)} for "
            f"{len(noise)} samples; take them from storage.records.solver_seeds"
        )
    return {"generator": [torch.Generator().manual_seed(seed) for seed in seeds]}
