"""The result of an evaluation: a frozen record that reports, flows and the registry read."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from advkd.evaluation.cost import CostReport
from advkd.evaluation.distances import Worth
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.fidelity import LabelFidelity
from advkd.evaluation.reference import TeacherPoint
from advkd.evaluation.scores import Metric, Scores
from advkd.files import record_from_json

LAYOUT = 3
_HEADLINE = ("worth_steps", "worth_clamped", "fd", "recall", "precision", "label_fidelity")


@dataclass(frozen=True, kw_only=True)
class SubmoduleScores:
    """Scores of a submodule's predictions against the teacher's states from the same noises.

    `state` compares the states, `clean` the clean images that they imply (without the noise); `rmse` is paired, per
    pixel, in images of [-1, 1]. The teacher's states are those of deterministic DDIM. States of a stochastic sampler
    are no function of the noise, so for a student trained on them, only the FDs of states are meaningful. There is one
    FD for each extractor of the evaluation.
    """

    timestep: int
    fd_state: tuple[Metric, ...]
    fd_clean: tuple[Metric, ...]
    rmse_state: Metric
    rmse_clean: Metric

    def metrics(self) -> tuple[Metric, ...]:
        """Returns the metrics in the order of display."""
        return (*self.fd_state, *self.fd_clean, self.rmse_state, self.rmse_clean)


@dataclass(frozen=True, kw_only=True)
class Distances:
    """Distances of student and teacher in one extractor's features.

    Attributes:
        extractor: name of the extractor.
        extractor_sha256: sha256 of its weights.
        real_sha256: sha256 of the real images, "" if there are none.
        reference_digest: digest of the teacher's reference.
        worth: number of teacher steps that the student's distance is worth.
        to_teacher: scores of the student against the teacher at 50 steps.
        to_real: scores of the student against real images, None if there are none.
        curve: scores of the teacher at 1 to 50 steps, from the same code and noises.
        fidelity: shares of images that are read as their class; None without classes, or where none are read.
    """

    extractor: str
    extractor_sha256: str
    real_sha256: str
    reference_digest: str
    worth: Worth
    to_teacher: Scores
    to_real: Scores | None
    curve: tuple[TeacherPoint, ...]
    fidelity: LabelFidelity | None

    def metrics(self) -> tuple[Metric, ...]:
        """Returns the student's metrics in the order of display."""
        return (*self.to_teacher.metrics(), *(() if self.to_real is None else self.to_real.metrics()))

    def summary(self) -> dict[str, Any]:
        """Returns the figures of a summary as plain JSON."""
        return {
            "worth_steps": self.worth.steps,
            "worth_clamped": self.worth.clamped,
            "fd": {
                "name": self.to_teacher.fd.name,
                "student": _frechet(self.to_teacher, self.to_real),
                "teacher": {str(point.steps): _frechet(point.to_teacher, point.to_real) for point in self.curve},
            },
            "recall": self.to_teacher.recall.value,
            "precision": self.to_teacher.precision.value,
            "label_fidelity": None if self.fidelity is None else asdict(self.fidelity),
        }


@dataclass(frozen=True, kw_only=True)
class EvalReport:
    """The evaluation of a student against a teacher.

    Attributes:
        student_sha256: sha256 of the student's weights.
        student_config_digest: sha256 of the student's config.
        sample_shape: `[C, H, W]`.
        timesteps: the student's time grid.
        teacher: name (slug).
        teacher_fingerprint: sha256 over all that the teacher's states depend on.
        solver: of the teacher's trajectories that the submodules are compared with.
        solver_steps: its steps.
        curve_solver: of the teacher's own curve, which gives the worth.
        seed: base seed of the noises.
        first_index: index of the first noise, larger than any in a store.
        samples: number of noises.
        distances: distances by extractor, those of the headline first; empty without extractors.
        submodules: scores of the submodules, from noisy to clean.
        cost: costs of student and teacher.
        layout: version of this record, `LAYOUT`.
    """

    student_sha256: str
    student_config_digest: str
    sample_shape: tuple[int, ...]
    timesteps: tuple[int, ...]
    teacher: str
    teacher_fingerprint: str
    solver: str
    solver_steps: int
    curve_solver: str
    seed: int
    first_index: int
    samples: int
    distances: tuple[Distances, ...]
    submodules: tuple[SubmoduleScores, ...]
    cost: CostReport
    layout: int

    @property
    def headline(self) -> Distances | None:
        """The distances by which a student is judged; None without extractors."""
        return self.distances[0] if self.distances else None

    @property
    def worth(self) -> Worth | None:
        """The worth in the headline, None without a headline."""
        return None if self.headline is None else self.headline.worth

    def to_json(self) -> str:
        """Returns the report as JSON; `from_json` is its inverse."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "EvalReport":
        """Parses a report in `metrics.json`.

        Raises:
            EvaluationError: the text is no report of this version.
        """
        try:
            return record_from_json(cls, text)
        except ValueError as error:
            raise EvaluationError(f"metrics.json must be an evaluation's report ({error}); evaluate again") from error

    def summary(self) -> dict[str, Any]:
        """Returns the figures of a summary as plain JSON with constant keys; null without a headline."""
        student, teacher = self.cost.student, self.cost.teacher
        return {
            **(dict.fromkeys(_HEADLINE) if self.headline is None else self.headline.summary()),
            "features": {distances.extractor: distances.summary() for distances in self.distances},
            "samples": self.samples,
            "params": {"student": student.params, "teacher": teacher.params},
            "macs": {"student": student.macs, "teacher": teacher.macs},
            "latency_ms": {
                "student": {str(batch): value for batch, value in student.latency_ms.items()},
                f"teacher@{teacher.passes}": {str(batch): value for batch, value in teacher.latency_ms.items()},
            },
        }


def worth_sentence(worth: Worth | None) -> str:
    """Returns the headline as a sentence."""
    if worth is None:
        return "This student's distance to its teacher was not measured: no extractor was chosen for their images."
    steps = f"{worth.steps:.0f}" if worth.clamped else f"{worth.steps:.1f}"
    if worth.clamped:
        return (
            f"One pass of this student is worth less than {steps} step of its teacher."
            if worth.steps <= 1
            else f"One pass of this student is worth more than {steps} steps of its teacher."
        )
    return f"One pass of this student is worth {steps} steps of its teacher."


def _frechet(to_teacher: Scores | None, to_real: Scores | None) -> dict[str, float | None]:
    return {
        "to_teacher": None if to_teacher is None else to_teacher.fd.value,
        "to_real": None if to_real is None else to_real.fd.value,
    }
