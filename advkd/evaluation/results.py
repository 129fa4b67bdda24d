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

LAYOUT = 1


@dataclass(frozen=True, kw_only=True)
class SubmoduleScores:
    """One submodule's prediction against the teacher's state on the same noises.

    `state` compares the states themselves, `clean` the clean images that they imply (the noise taken out); `rmse` is
    paired, per pixel, in images of [-1, 1]. The teacher's states are those of deterministic DDIM: of a student that was
    trained on a stochastic sampler's, which are no function of the noise, only the FDs of states say something.
    """

    timestep: int
    fd_state: Metric
    fd_clean: Metric
    rmse_state: Metric
    rmse_clean: Metric

    def metrics(self) -> tuple[Metric, ...]:
        """In the order they are shown in."""
        return (self.fd_state, self.fd_clean, self.rmse_state, self.rmse_clean)


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
        solver_steps: steps of the teacher's trajectories that the submodules are compared with.
        reference_digest: names the teacher's reference.
        seed: base seed of the noises.
        first_index: index of the first noise; no store has it.
        samples: number of noises.
        worth: the headline.
        to_teacher: the student against the teacher at 50 steps.
        to_real: the student against real images, where they are known.
        curve: the teacher itself at 1 to 50 steps, from the same code and noises.
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
    solver_steps: int
    reference_digest: str
    seed: int
    first_index: int
    samples: int
    worth: Worth
    to_teacher: Scores
    to_real: Scores | None
    curve: tuple[TeacherPoint, ...]
    submodules: tuple[SubmoduleScores, ...]
    cost: CostReport
    layout: int

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
        """The figures a summary shows, as plain JSON with a stable shape."""
        student, teacher = self.cost.student, self.cost.teacher
        return {
            "worth_steps": self.worth.steps,
            "worth_clamped": self.worth.clamped,
            "fd": {
                "name": self.to_teacher.fd.name,
                "student": _distances(self.to_teacher, self.to_real),
                "teacher": {str(point.steps): _distances(point.to_teacher, point.to_real) for point in self.curve},
            },
            "recall": self.to_teacher.recall.value,
            "precision": self.to_teacher.precision.value,
            "samples": self.samples,
            "params": {"student": student.params, "teacher": teacher.params},
            "macs": {"student": student.macs, "teacher": teacher.macs},
            "latency_ms": {
                "student": {str(batch): value for batch, value in student.latency_ms.items()},
                f"teacher@{teacher.passes}": {str(batch): value for batch, value in teacher.latency_ms.items()},
            },
        }


def worth_sentence(worth: Worth) -> str:
    """The headline as a sentence."""
    steps = f"{worth.steps:.0f}" if worth.clamped else f"{worth.steps:.1f}"
    if worth.clamped:
        return (
            f"One pass of this student is worth less than {steps} step of its teacher."
            if worth.steps <= 1
            else f"One pass of this student is worth more than {steps} steps of its teacher."
        )
    return f"One pass of this student is worth {steps} steps of its teacher."


def _distances(to_teacher: Scores | None, to_real: Scores | None) -> dict[str, float | None]:
    return {
        "to_teacher": None if to_teacher is None else to_teacher.fd.value,
        "to_real": None if to_real is None else to_real.fd.value,
    }
