"""What an evaluation found: one frozen record that a report, a flow and the registry read."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from advkd.evaluation.cost import CostReport
from advkd.evaluation.distances import Worth
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.reference import TeacherPoint
from advkd.evaluation.scores import Metric, Scores
from advkd.files import record_from_json

LAYOUT = 2
_HEADLINE = ("worth_steps", "worth_clamped", "fd", "recall", "precision")


@dataclass(frozen=True, kw_only=True)
class SubmoduleScores:
    """One submodule's prediction against the teacher's state on the same noises.

    `state` compares the states themselves, `clean` the clean images that they imply (the noise taken out); `rmse` is
    paired, per pixel, in images of [-1, 1]. The teacher's states are those of deterministic DDIM: of a student that was
    trained on a stochastic sampler's, which are no function of the noise, only the FDs of states say something. There
    is an FD for each extractor of the evaluation, so none where it had none.
    """

    timestep: int
    fd_state: tuple[Metric, ...]
    fd_clean: tuple[Metric, ...]
    rmse_state: Metric
    rmse_clean: Metric

    def metrics(self) -> tuple[Metric, ...]:
        """In the order they are shown in."""
        return (*self.fd_state, *self.fd_clean, self.rmse_state, self.rmse_clean)


@dataclass(frozen=True, kw_only=True)
class Distances:
    """The student and the teacher's curve, in one extractor's features.

    Attributes:
        extractor: its name.
        extractor_sha256: of its weights.
        real_sha256: of the real images, "" where there are none.
        reference_digest: names the teacher's reference.
        worth: how many teacher steps the student's distance is worth.
        to_teacher: the student against the teacher at 50 steps.
        to_real: the student against real images, where there are any.
        curve: the teacher itself at 1 to 50 steps, from the same code and noises.
    """

    extractor: str
    extractor_sha256: str
    real_sha256: str
    reference_digest: str
    worth: Worth
    to_teacher: Scores
    to_real: Scores | None
    curve: tuple[TeacherPoint, ...]

    def metrics(self) -> tuple[Metric, ...]:
        """The student's, in the order they are shown in."""
        return (*self.to_teacher.metrics(), *(() if self.to_real is None else self.to_real.metrics()))

    def summary(self) -> dict[str, Any]:
        """The figures a summary shows, as plain JSON."""
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
        }


@dataclass(frozen=True, kw_only=True)
class EvalReport:
    """One student against one teacher.

    Attributes:
        student_sha256: of the student's weights.
        student_config_digest: sha256 of its config.
        sample_shape: `[C, H, W]`.
        timesteps: the student's time grid.
        teacher: name (slug).
        teacher_fingerprint: sha256 over all that the teacher's states depend on.
        solver: of the teacher's trajectories that the submodules are compared with.
        solver_steps: its steps.
        curve_solver: of the teacher's own curve, which gives the worth.
        seed: base seed of the noises.
        first_index: index of the first noise; no store has it.
        samples: number of noises.
        distances: for each extractor of the evaluation, the headline's first; none where it had none.
        submodules: from noisy to clean.
        cost: student and teacher.
        layout: of this record, `LAYOUT`.
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
        """The distances that a student is judged by; None where nothing was measured."""
        return self.distances[0] if self.distances else None

    @property
    def worth(self) -> Worth | None:
        """The headline's."""
        return None if self.headline is None else self.headline.worth

    def to_json(self) -> str:
        """JSON text; `from_json` reads it back equal."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "EvalReport":
        """The report in `metrics.json`.

        Raises:
            EvaluationError: not a report of this version.
        """
        try:
            return record_from_json(cls, text)
        except ValueError as error:
            raise EvaluationError(f"metrics.json must be an evaluation's report ({error}); evaluate again") from error

    def summary(self) -> dict[str, Any]:
        """The figures a summary shows, as plain JSON with a stable shape; null where there is no headline."""
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
    """The headline as a sentence."""
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
