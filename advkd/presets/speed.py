"""Counts and times what a distillation is made of, before anything is spent: a teacher's pass, a run's steps."""

import os
from collections import Counter
from dataclasses import replace

import torch

from advkd.device import torch_device, torch_threads, work_clock
from advkd.diffusion import start_of
from advkd.networks import multiply_adds
from advkd.presets.targets import student_cost
from advkd.teachers import AUTO, SolverSpec, Teacher, fitting_solver
from advkd.training import RunSpec, build_method, example_batch
from storage import TrajectorySpec

_PASS_SAMPLES = 32
_QUICK_SECONDS = 0.2
_STEP_MULTIPLY_ADDS = 4e9
_GRADIENTS = 3
"""A step of training computes about three times a pass of its student."""
_STEPS = 4
_POINTS = 100
_COUNTED: dict[str, int] = {}


def pass_multiply_adds(teacher: Teacher) -> int | None:
    """Counts one sample's pass through the teacher's network; None for a teacher without one."""
    if not hasattr(teacher, "network"):
        return None
    if teacher.fingerprint not in _COUNTED:
        solver = _short(teacher, fitting_solver(SolverSpec(kind=AUTO, steps=_STEPS), teacher))
        guided = teacher.solver_config(solver).get("guidance_scale") is not None
        macs = multiply_adds(lambda: _solve(teacher, solver, 1))
        _COUNTED[teacher.fingerprint] = macs // (solver.steps * (2 if guided else 1))
    return _COUNTED[teacher.fingerprint]


def passes_at_once(teacher: Teacher) -> int:
    """Returns how many passes run at the same time: one on each core, or one on a GPU."""
    on_gpu = torch.device(getattr(teacher, "device", "cpu")).type == "cuda"
    return 1 if on_gpu else os.cpu_count() or 1


def step_seconds(teacher: Teacher, solver: SolverSpec) -> float:
    """Times a step of the solver for one sample, in seconds of one thread, by a batch of a few samples."""
    short = _short(teacher, solver)
    with torch_threads(1):
        # The first pass of a network allocates and chooses its kernels.
        single = _timed(teacher, short, 1)
        count = _PASS_SAMPLES if single < _QUICK_SECONDS else 1
        return _timed(teacher, short, count) / (count * short.steps)


def sample_seconds(train: RunSpec, store: TrajectorySpec) -> float:
    """Times a training run: seconds per trajectory seen, a mean over its phases.

    Each phase makes a few steps, with as large a part of a batch as takes about a second.

    Raises:
        ValueError: the spec does not fit the store.
    """
    macs = student_cost(train, store).multiply_adds
    rows = max(1, min(train.batch_size, int(_STEP_MULTIPLY_ADDS / (_GRADIENTS * max(macs, 1)))))
    method = build_method(replace(train, batch_size=rows, accumulate=1, samples=train.steps * rows), store)
    batch = example_batch(method.store, rows, torch_device(train.device))
    clocks: dict[str, int] = {}
    shares: Counter[str] = Counter()
    for point in range(_POINTS):
        method.state.samples = train.steps * point // _POINTS * rows
        clocks.setdefault(method.phase(), method.state.samples)
        shares[method.phase()] += 1
    seconds, clock = 0.0, work_clock(train.device, train.threads)
    with torch_threads(train.threads):
        for phase, samples in clocks.items():
            method.state.samples = samples
            method.step(batch)
            began = clock()
            for _ in range(_STEPS):
                losses = method.step(batch)
            # Waits for the device.
            float(losses.distillation)
            seconds += shares[phase] / _POINTS * (clock() - began) / _STEPS
    return seconds / rows


def _short(teacher: Teacher, solver: SolverSpec) -> SolverSpec:
    """Returns the same solver with as few steps as it takes."""
    for steps in range(1, solver.steps):
        try:
            teacher.grid(replace(solver, steps=steps))
        except ValueError:
            continue
        return replace(solver, steps=steps)
    return solver


def _timed(teacher: Teacher, solver: SolverSpec, count: int) -> float:
    clock = work_clock(getattr(teacher, "device", "cpu"))
    began = clock()
    _solve(teacher, solver, count)
    return clock() - began


def _solve(teacher: Teacher, solver: SolverSpec, count: int) -> None:
    start = start_of(torch.zeros(count, *teacher.space.shape), teacher.conditions, 0, range(count))
    seeds = None if solver.deterministic else range(count)
    with torch.no_grad():
        for state in teacher.states(start, solver, teacher.grid(solver).labels, seeds):
            # Waits for the device.
            float(state.flatten()[0])
