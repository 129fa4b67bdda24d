"""Shows students beside their teacher: the states that submodules predict for the same x_T, and their clean images.

One student at a time runs, on the CPU, for the samples on the page only. torch is imported when the first student is
loaded.
"""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from advkd.browse.errors import NotShownError, RequestError
from advkd.diffusion import (
    Conditions,
    SkipCoefficients,
    conditions_of,
    drawn_condition,
    embedded,
    implied_clean,
    skip_coefficients,
)
from advkd.networks import adopt_embeddings
from storage import ByteCache, States, TrajectorySpec
from storage.records import start_noise

if TYPE_CHECKING:
    from advkd.students import AnyStudent

_BATCH = 64
_RUNNING = threading.Lock()


def norm(states: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns the root mean square of every state `[B, C, H, W]`."""
    values = states.astype(np.float64).reshape(len(states), -1)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", values, values) / values.shape[1]))


@dataclass(frozen=True)
class ShownStudent:
    """A loaded student."""

    name: str
    """Name on pages: the last part of its folder's path, or more parts if these are ambiguous."""
    model: "AnyStudent"
    kept: ByteCache
    """Cache of predictions; one pass gives all timesteps."""
    conditions: Conditions
    """The student's own, with the embeddings of its prompts."""

    def refusal(self, spec: TrajectorySpec) -> str | None:
        """Returns why the student cannot be shown beside the trajectories of a spec, None if it can."""
        theirs, ours = tuple(self.model.sample_shape), tuple(spec.sample_shape)
        if theirs != ours:
            return (
                f"a student is shown beside trajectories of its own shape, got one of {list(theirs)} for a store of "
                f"{list(ours)}; give a student that was trained on such a store"
            )
        told, shown = self.model.config.get("conditioning"), spec.conditioning
        if told != (None if shown is None else dict(shown)):
            kinds = ["noise alone" if facts is None else repr(facts.get("kind")) for facts in (told, shown)]
            return (
                f"a student is shown beside trajectories of its own conditions, got one that takes {kinds[0]} for a "
                f"store of {kinds[1]} or of other classes; give a student that was trained on such a store"
            )
        if self.shared_timesteps(spec) == ():
            return (
                f"a student is compared at the timesteps that it predicts, {list(self.model.timesteps[1:])}, and the "
                f"store has none of them, only {list(spec.timesteps)}; give a student that was trained on its grid"
            )
        return None

    def shared_timesteps(self, spec: TrajectorySpec) -> tuple[int, ...]:
        """Returns the timesteps that a submodule predicts and the store has."""
        return tuple(t for t in self.model.timesteps[1:] if t in spec.timesteps)

    def states(self, spec: TrajectorySpec, samples: Sequence[int], stored: npt.NDArray[Any]) -> States:
        """The predicted states of some samples of a store by timestep, float32 `[B, C, H_k, W_k]`.

        `stored` is their first state; see `start_of`.
        """
        noise = start_of(spec, samples, stored)
        key = "predicted", self.name, hashlib.sha256(np.ascontiguousarray(noise).data).hexdigest()
        states: States | None = self.kept.get(key)
        if states is None:
            with _RUNNING:
                # Somebody may have run it for the same noise meanwhile.
                states = self.kept.get(key) or self._run(spec, samples, noise)
            self.kept.put(key, states, sum(state.nbytes for state in states.values()))
        return states

    def errors(
        self, spec: TrajectorySpec, samples: Sequence[int], states: States
    ) -> dict[int, npt.NDArray[np.float64]]:
        """The root mean square between its states and the store's `states`, per sample, at every timestep of both."""
        predicted = self.states(spec, samples, states[spec.timesteps[0]])
        return {t: norm(state - states[t].astype(np.float32)) for t, state in predicted.items() if t in states}

    def _run(self, spec: TrajectorySpec, samples: Sequence[int], noise: npt.NDArray[Any]) -> States:
        import torch

        condition = embedded(self.conditions, drawn_condition(self.conditions, spec.base_seed, samples))
        predicted: dict[int, list[npt.NDArray[Any]]] = {t: [] for t in self.model.timesteps[1:]}
        with torch.inference_mode():
            for start in range(0, len(noise), _BATCH):
                batch = torch.from_numpy(noise[start : start + _BATCH].astype(np.float32))
                told = {name: values[start : start + _BATCH] for name, values in condition.items()}
                for t, state in zip(predicted, self.model.predictions(batch, **told), strict=True):
                    predicted[t].append(state.float().numpy())
        return {t: np.concatenate(parts) for t, parts in predicted.items()}


class Students:
    """The students that were named at the start, each loaded once.

    Args:
        places: places of the students, see `advkd.registry.fetching.student_folder`.
        kept: cache of their predictions, shared with other values.
        runs: folder of the registry.
    """

    def __init__(self, places: Sequence[str], kept: ByteCache, runs: str) -> None:
        self.all = [_load(place, name, kept, runs) for place, name in zip(places, _names(places), strict=True)]
        """In the given order, by which URLs number them."""

    def student(self, number: int) -> ShownStudent:
        """Returns a student by number; raises `NotShownError` for an unknown number."""
        if not 0 <= number < len(self.all):
            raise NotShownError(
                f"a student must be one of those that `advkd browse` was started with, got number {number} of "
                f"{len(self.all)}; give --student"
            )
        return self.all[number]

    def fitting(self, number: int, spec: TrajectorySpec) -> ShownStudent:
        """Returns a student by number; raises `RequestError` with the reason if it does not fit the store."""
        student = self.student(number)
        refused = student.refusal(spec)
        if refused is not None:
            raise RequestError(refused)
        return student


def clean_image(state: npt.NDArray[Any], noise: npt.NDArray[Any], spec: TrajectorySpec, timestep: int) -> Any:
    """Returns the clean image that states `[B, C, H_k, W_k]` of a timestep imply; the noise is in full resolution.

    A coarser state implies a coarser image, computed with box means of the noise.
    """
    coefficients, position = _coefficients(spec), spec.timesteps[1:].index(timestep)
    assert coefficients is not None, "implies_clean was asked before"
    height, width = state.shape[2:]
    boxes = noise.astype(np.float32).reshape(
        *noise.shape[:2], height, noise.shape[2] // height, width, noise.shape[3] // width
    )
    skip, gain = coefficients.skip[position], coefficients.gain[position]
    return implied_clean(state.astype(np.float32), boxes.mean(axis=(3, 5)), skip, gain)


def start_of(spec: TrajectorySpec, samples: Sequence[int], stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns a student's x_T `[B, C, H, W]`: as stored, or drawn again if it is stored coarser."""
    if stored.shape[1:] == tuple(spec.sample_shape):
        return stored
    return np.concatenate([start_noise(spec, i, 1) for i in samples])


def implies_clean(spec: TrajectorySpec, timestep: int) -> bool:
    """Returns whether a state implies a clean image; the noise does not, nor does a state of a stochastic sampler."""
    noise, state = spec.state_shape(spec.timesteps[0]), spec.state_shape(timestep)
    divides = noise[1] % state[1] == 0 and noise[2] % state[2] == 0
    return timestep != spec.timesteps[0] and divides and spec.deterministic and _coefficients(spec) is not None


def _coefficients(spec: TrajectorySpec) -> SkipCoefficients | None:
    """Returns the skip coefficients; None for a foreign schedule that does not go from noise to clean."""
    try:
        return skip_coefficients(spec.signal, spec.sigma) if spec.sigma[0] > 0 else None
    except ValueError:
        return None


def _load(place: str, name: str, kept: ByteCache, runs: str) -> ShownStudent:
    from advkd.registry import student_folder
    from advkd.students import load_student, student_files

    folder = student_folder(place, runs)
    model = load_student(folder)
    conditions = conditions_of(model.config.get("conditioning"))
    adopt_embeddings(conditions, student_files(folder).weights.parent)
    return ShownStudent(name, model, kept, conditions)


def _names(places: Sequence[str]) -> list[str]:
    """Returns the last parts of the paths, as many as distinguish them."""
    parts = [
        [part for part in PurePath(place).parts if part not in ("/", "student")] or ["student"] for place in places
    ]
    for count in range(1, max((len(path) for path in parts), default=0) + 1):
        names = ["/".join(path[-count:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{path[-1]} ({number})" for number, path in enumerate(parts, start=1)]
