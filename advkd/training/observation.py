"""The observation of a run at one instant: a frozen record that converts to JSON. Must not import torch."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from advkd.files import record_from_json


@dataclass(frozen=True, kw_only=True)
class SubmoduleObservation:
    """A submodule's images, compared with the teacher's for the same noises.

    Attributes:
        timestep: timestep of the state that the submodule predicts; 0 is the clean image.
        margin: mean D(real) - mean D(fake), in logits; None before the discriminator's first update.
        student_mean: mean over all values of the student's images.
        student_std: standard deviation of these values.
        teacher_mean: mean over all values of the teacher's images.
        teacher_std: standard deviation of these values.
        spread: mean distance between two of the student's images, divided by the teacher's: 1 means as varied, 0 one
            image for every noise; None for a single image.
    """

    timestep: int
    margin: float | None
    student_mean: float
    student_std: float
    teacher_mean: float
    teacher_std: float
    spread: float | None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The observation after one step.

    Attributes:
        samples: the run's clock: trajectories seen.
        submodules: the submodules in training, from noisy to clean.
        student_gradient: norm of the gradient over all of the student's weights, for the step's whole batch.
        discriminator_gradient: norm of the gradient in the discriminator's last update; some updates include a penalty.
            None before the first update.
        input_mean: mean of the student's input; 0 in sampling.
        input_std: standard deviation of the student's input; 1 in sampling.
    """

    samples: int
    submodules: tuple[SubmoduleObservation, ...]
    student_gradient: float
    discriminator_gradient: float | None
    input_mean: float
    input_std: float

    def not_finite(self) -> list[str]:
        """Returns the names of the values that are NaN or infinite."""
        facts = asdict(self)
        parts = {f"submodules[{k}].": part for k, part in enumerate(facts.pop("submodules"))}
        named = {owner + name: value for owner, part in ({"": facts} | parts).items() for name, value in part.items()}
        return [name for name, value in named.items() if value is not None and not math.isfinite(value)]

    def to_json(self) -> str:
        """Returns one line of JSON; `from_json` is its inverse."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Observation":
        """Parses a line of JSON.

        Raises:
            ValueError: the line is no observation of this version.
        """
        return record_from_json(cls, text)


def observations_to_json(observations: Sequence[Observation]) -> str:
    """Returns a JSON list with one observation per line."""
    return "[\n" + ",\n".join(observation.to_json() for observation in observations) + "\n]\n"


def observations_from_json(text: str | bytes) -> tuple[Observation, ...]:
    """Parses the result of `observations_to_json`.

    Raises:
        ValueError: the text is something else.
    """
    return record_from_json(tuple[Observation, ...], text)
