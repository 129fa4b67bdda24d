"""What a student may cost at most, and the width that keeps to it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from advkd.networks import multiply_adds, parameters
from advkd.presets.grids import EIGHT
from advkd.training import PaperSpec, RunSpec, TrainSpec, build_method, example_condition
from storage import TrajectorySpec

Bounded = TypeVar("Bounded", bound=RunSpec)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Upper bounds of a student.

    Attributes:
        max_parameters: number of parameters; None: no bound.
        max_passes: multiply-adds of the student's pass, in passes of its teacher: 0.25 is a quarter of one; None: no
            bound.
    """

    max_parameters: int | None = None
    max_passes: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_parameters", "max_passes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"Target.{name} must be positive and finite, got {value}; leave it out for no bound")


@dataclass(frozen=True)
class StudentCost:
    """Counts of one student: parameters, and multiply-adds of a pass of one sample."""

    parameters: int
    multiply_adds: int


def student_cost(spec: RunSpec, store: TrajectorySpec) -> StudentCost:
    """Counts the student of a spec; computes nothing.

    Raises:
        ValueError: the spec does not fit the store.
    """
    method = build_method(replace(spec, device="cpu"), store)
    student = method.state.student.to("meta").eval()
    told = {name: values.to("meta") for name, values in example_condition(method.store, 1).items()}
    noise = torch.empty(1, *store.sample_shape, device="meta")
    with torch.no_grad():
        return StudentCost(parameters(student), multiply_adds(lambda: student(noise, **told)))


def within(
    target: Target, spec: Bounded, store: TrajectorySpec, pass_multiply_adds: Callable[[], int | None]
) -> Bounded:
    """Returns the spec with the largest width, at most its own, that keeps to the target.

    Args:
        target: bounds.
        spec: of the training.
        store: facts of its store.
        pass_multiply_adds: multiply-adds of one sample's pass through the teacher, None for one without a network;
            called if the target is in passes.

    Raises:
        ValueError: the narrowest student is above a bound, or the teacher has no network to compare with.
    """
    bounds = _bounds(target, pass_multiply_adds)
    if not bounds:
        return spec
    widest = width_of(spec)
    for width in [widest, *(narrower for narrower in range(widest - 1, 0, -1) if narrower % EIGHT == 0)]:
        narrow = with_width(spec, width)
        cost = student_cost(narrow, store)
        above = {name: bound for name, bound in bounds.items() if getattr(cost, name) > bound.most}
        if not above:
            return narrow
    name, bound = next(iter(above.items()))
    raise ValueError(
        f"a target must leave room for a student, got {bound.said}: the narrowest for these states, of width {width}, "
        f"has {getattr(cost, name):,} {name.replace('_', '-')} where {bound.most:,.0f} are allowed; allow as many, or "
        "a larger --patch"
    )


def width_of(spec: RunSpec) -> int:
    """Returns the width of a spec's student; raises `ValueError` for a method that has none of ours."""
    if isinstance(spec, TrainSpec):
        return spec.student.width
    if isinstance(spec, PaperSpec):
        return spec.width
    raise ValueError(f"a width can be changed for our methods, got {spec.method!r}; say it in the method's own spec")


def with_width(spec: Bounded, width: int) -> Bounded:
    """Returns the spec with another width of its student; see `width_of`."""
    if isinstance(spec, TrainSpec):
        return replace(spec, student=replace(spec.student, width=width))
    width_of(spec)
    return replace(spec, width=width)  # type: ignore[call-arg]


@dataclass(frozen=True)
class _Bound:
    most: float
    said: str


def _bounds(target: Target, pass_multiply_adds: Callable[[], int | None]) -> dict[str, _Bound]:
    bounds: dict[str, _Bound] = {}
    if target.max_parameters is not None:
        bounds["parameters"] = _Bound(target.max_parameters, f"max_parameters={target.max_parameters:,}")
    if target.max_passes is not None:
        each = pass_multiply_adds()
        if each is None:
            raise ValueError(
                f"a target in passes needs a teacher with a network, got max_passes={target.max_passes:g} for one "
                "without; say max_parameters instead"
            )
        bounds["multiply_adds"] = _Bound(target.max_passes * each, f"max_passes={target.max_passes:g}")
    return bounds
