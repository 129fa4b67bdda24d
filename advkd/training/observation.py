"""What was seen of a run at one instant, as a frozen record that goes through JSON; no torch."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from advkd.files import record_from_json


@dataclass(frozen=True, kw_only=True)
class SubmoduleObservation:
    """One submodule's images beside the teacher's of the same noises.

    Attributes:
        timestep: whose state the submodule predicts; 0 is the clean image.
        margin: mean D(real) - mean D(fake), in logits; None before the discriminator's first update.
        student_mean: over all values of the student's images.
        student_std: the same values' standard deviation.
        teacher_mean: over all values of the teacher's images.
        teacher_std: the same values' standard deviation.
        spread: mean distance between two of the student's images, over that of the teacher's: 1 is as varied, 0 one
            image for every noise; None of a single image.
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
    """All that was seen after one step.

    Attributes:
        samples: the run's clock.
        submodules: those in training, from noisy to clean.
        student_gradient: norm over all of the student's weights, of the step's whole batch.
        discriminator_gradient: the same of the discriminator's last update, which every so often has a penalty in it;
            None before its first.
        input_mean: of what the student was given; 0 in sampling.
        input_std: of what the student was given; 1 in sampling.
    """

    samples: int
    submodules: tuple[SubmoduleObservation, ...]
    student_gradient: float
    discriminator_gradient: float | None
    input_mean: float
    input_std: float

    def not_finite(self) -> list[str]:
        """Names of the values that are NaN or infinite."""
        facts = asdict(self)
        parts = {f"submodules[{k}].": part for k, part in enumerate(facts.pop("submodules"))}
        named = {owner + name: value for owner, part in ({"": facts} | parts).items() for name, value in part.items()}
        return [name for name, value in named.items() if value is not None and not math.isfinite(value)]

    def to_json(self) -> str:
        """One line; `from_json` reads it back equal."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Observation":
        """The observation of one line.

        Raises:
            ValueError: not one of this version.
        """
        return record_from_json(cls, text)


def observations_to_json(observations: Sequence[Observation]) -> str:
    """A JSON list, one observation a line."""
    return "[\n" + ",\n".join(observation.to_json() for observation in observations) + "\n]\n"


def observations_from_json(text: str | bytes) -> tuple[Observation, ...]:
    """What `observations_to_json` wrote.

    Raises:
        ValueError: something else.
    """
    return record_from_json(tuple[Observation, ...], text)
