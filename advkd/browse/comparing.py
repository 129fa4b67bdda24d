"""Two sides of a page: a store's teacher, or a student on a store's noise; and their difference at the same samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.decoding import Look
from advkd.browse.errors import RequestError
from advkd.browse.store_view import Mark, StoreSnapshot
from advkd.browse.students import ShownStudent
from storage import TrajectorySpec


@dataclass(frozen=True)
class Side:
    """What a wall shows: a store's states, or a student's predictions."""

    view: StoreSnapshot
    student: ShownStudent | None = None
    """The student, None for the store's own states."""

    @property
    def name(self) -> tuple[str, str | None]:
        """Store and student, which distinguish the side from others."""
        return self.view.store.name, None if self.student is None else self.student.name

    def timesteps(self) -> tuple[int, ...]:
        """Returns the timesteps that the side can show."""
        spec = self.view.spec
        return spec.timesteps if self.student is None else (spec.timesteps[0], *self.student.shared_timesteps(spec))

    def states(self, samples: Sequence[int], timestep: int) -> tuple[npt.NDArray[Any], dict[int, Mark]]:
        """Returns states `[len(samples), C, H_k, W_k]`, and marks of the samples that could not be read."""
        spec = self.view.spec
        first = spec.timesteps[0]
        if self.student is None or timestep == first:
            looked = self.view.read(samples, [timestep])
            return looked.states[timestep], looked.marks
        looked = self.view.read(samples, [first])
        return self.student.states(spec, samples, looked.states[first])[timestep], looked.marks


def comparable(left: StoreSnapshot, right: StoreSnapshot) -> str | None:
    """Returns why the samples of two stores cannot be subtracted, None if they can: sample i starts from one x_T."""
    facts: list[tuple[str, Callable[[TrajectorySpec], object]]] = [
        ("shape", lambda spec: list(spec.sample_shape)),
        ("base seed", lambda spec: spec.base_seed),
        ("scale of the noise", lambda spec: (spec.signal[0], spec.sigma[0])),
        ("dtype", lambda spec: spec.dtype),
        ("condition", lambda spec: spec.conditioning),
    ]
    differing = [
        name if name == "condition" else f"{name} ({fact(left.spec)} and {fact(right.spec)})"
        for name, fact in facts
        if fact(left.spec) != fact(right.spec)
    ]
    if not differing:
        return None
    return (
        "samples can be subtracted if both sides start from the same noise and condition, and these stores differ in "
        f"{', '.join(differing)}; choose two stores of one seed, or look at the walls by number"
    )


def differences(
    left: Side, right: Side, samples: Sequence[int], timestep: int, looks: tuple[Look, Look] | None = None
) -> tuple[npt.NDArray[np.float32], dict[int, Mark]]:
    """Returns |left - right|, `[len(samples), C, H_k, W_k]`, and marks of the samples that could not be read.

    It is that of the images if `looks` decode both, else that of the states.

    Raises:
        RequestError: the sides cannot be compared, or store the timestep at different resolutions.
    """
    refused = comparable(left.view, right.view)
    if refused is not None:
        raise RequestError(refused)
    ours, marks = left.states(samples, timestep)
    nearest = min(right.timesteps(), key=lambda t: (abs(t - timestep), t))
    theirs, more = right.states(samples, nearest)
    if ours.shape != theirs.shape:
        raise RequestError(
            f"states of one resolution can be subtracted, got {list(ours.shape[1:])} and {list(theirs.shape[1:])}; "
            "choose a timestep that both store in full"
        )
    if looks is not None:
        images: tuple[Any, Any] = looks[0].images(ours), looks[1].images(theirs)
        if images[0] is not None and images[1] is not None:
            ours, theirs = images
    return np.abs(ours.astype(np.float32) - theirs.astype(np.float32)), marks | more
