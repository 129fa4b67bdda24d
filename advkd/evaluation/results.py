"""The result of an evaluation: a frozen record that reports, flows and the registry read."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from advkd.evaluation.cost import CostReport
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.fidelity import LabelFidelity, best_reading
from advkd.evaluation.prompt_score import PromptScore
from advkd.evaluation.reference import TeacherPoint
from advkd.evaluation.scores import Metric, Scores
from advkd.evaluation.worth import Worth
from advkd.files import record_from_json

LAYOUT = 6
NO_EXTRACTOR = "no extractor"
COMPARABLE_SAMPLES = 2000
"""Below so many images figures depend on their number more than on the student."""
_HEADLINE = ("worth", "worth_clamped", "worth_ddim", "fd", "recall", "precision", "label_fidelity", "prompt_score")


@dataclass(frozen=True, kw_only=True)
class SubmoduleScores:
    """Scores of a submodule's predictions against the teacher's states from the same noises.

    `state` compares the states, `clean` the clean images that they imply (without the noise); `rmse` is paired, per
    pixel, in images of [-1, 1]. The teacher's states are those of a deterministic solver. States of a stochastic
    sampler are no function of the noise, so for a student trained on them, only the FDs of states are meaningful.
    There is one FD for each extractor of the evaluation.
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
        target_error: Frechet distance of the target to the same solver with half as many steps.
        worth: number of teacher passes that the best solver without training needs for the student's distance.
        worth_ddim: the same of DDIM alone; None where DDIM does not fit the teacher.
        to_teacher: scores of the student against the target, a fine solution of the teacher's ODE.
        to_real: scores of the student against real images, None if there are none.
        teacher_to_real: scores of the target against them.
        curve: scores of the teacher under solvers without training, from the same code and noises.
        rank_deficient: whether a compared set has no more images than features have dimensions: then its covariance has
            no full rank, and the Frechet distance depends mostly on the number of images.
        fidelity: shares of images that are read as their class; None without classes, or where none are read.
        prompt_score: how well images match their prompts; None without prompts, or where the extractor reads no text.
    """

    extractor: str
    extractor_sha256: str
    real_sha256: str
    reference_digest: str
    target_error: float
    worth: Worth
    worth_ddim: Worth | None
    to_teacher: Scores
    to_real: Scores | None
    teacher_to_real: Scores | None
    curve: tuple[TeacherPoint, ...]
    rank_deficient: bool
    fidelity: LabelFidelity | None
    prompt_score: PromptScore | None

    def metrics(self) -> tuple[Metric, ...]:
        """Returns the student's metrics in the order of display."""
        return (*self.to_teacher.metrics(), *(() if self.to_real is None else self.to_real.metrics()))

    def summary(self) -> dict[str, Any]:
        """Returns the figures of a summary as plain JSON."""
        recall, precision = self.to_teacher.recall, self.to_teacher.precision
        return {
            "worth": self.worth.passes,
            "worth_clamped": self.worth.clamped,
            "worth_ddim": None if self.worth_ddim is None else self.worth_ddim.passes,
            "fd": {
                "name": self.to_teacher.fd.name,
                "target": self.to_teacher.fd.reference,
                "student": self.to_teacher.fd.value,
                "deviation": self.to_teacher.fd.deviation,
                "student_to_real": None if self.to_real is None else self.to_real.fd.value,
                "teacher_to_real": None if self.teacher_to_real is None else self.teacher_to_real.fd.value,
                "teacher": [
                    {"solver": point.solver, "passes": point.passes, "fd": point.to_target.fd.value}
                    for point in self.curve
                ],
            },
            "recall": None if recall is None else recall.value,
            "precision": None if precision is None else precision.value,
            "label_fidelity": None if self.fidelity is None else asdict(self.fidelity),
            "prompt_score": None if self.prompt_score is None else asdict(self.prompt_score),
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
        target_solver: solver of the target that images are compared with.
        target_steps: its steps.
        seed: base seed of the noises.
        first_index: index of the first noise, larger than any in a store.
        samples: number of noises.
        classes: classes that the page shows one by one, as they were asked for; empty: those farthest from the teacher.
        real_remarks: what the report says of the real pictures: how many were left out, and what was done to others;
            "" if there is nothing to say.
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
    target_solver: str
    target_steps: int
    seed: int
    first_index: int
    samples: int
    classes: tuple[str, ...]
    real_remarks: str
    distances: tuple[Distances, ...]
    submodules: tuple[SubmoduleScores, ...]
    cost: CostReport
    layout: int

    @property
    def headline(self) -> Distances | None:
        """The distances by which a student is judged; None without extractors."""
        return self.distances[0] if self.distances else None

    @property
    def fidelity(self) -> LabelFidelity | None:
        """The label fidelity that stands beside the classes (`best_reading`)."""
        return best_reading(distances.fidelity for distances in self.distances)

    @property
    def not_comparable(self) -> str:
        """Why the figures are no headline, such as "64 images"; "" if they are one."""
        if self.headline is None:
            return NO_EXTRACTOR
        if self.samples < COMPARABLE_SAMPLES:
            return f"{self.samples} images"
        return ""

    @property
    def worth(self) -> Worth | None:
        """The worth in the headline; None where the figures are not comparable."""
        return None if self.headline is None or self.not_comparable else self.headline.worth

    @property
    def cost_ratio(self) -> float | None:
        """Multiply-adds of the teacher passes that the student is worth, per multiply-add of the student."""
        ours, theirs = self.cost.student.macs, self.cost.teacher.macs
        if self.worth is None or not ours or theirs is None:
            return None
        return self.worth.passes * theirs / self.cost.teacher.passes / ours

    @property
    def latency_ratios(self) -> dict[int, float]:
        """Time of the teacher passes that the student is worth, per time of the student, by batch size."""
        if self.worth is None:
            return {}
        per_pass = {batch: time / self.cost.teacher.passes for batch, time in self.cost.teacher.latency_ms.items()}
        times = self.cost.student.latency_ms
        return {batch: self.worth.passes * per_pass[batch] / time for batch, time in times.items()}

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
        """Returns the figures of a summary as plain JSON with constant keys.

        They are null without an extractor, and the worth also where figures are not comparable.
        """
        student, teacher = self.cost.student, self.cost.teacher
        headline = dict.fromkeys(_HEADLINE) if self.headline is None else self.headline.summary()
        uncompared = dict.fromkeys(("worth", "worth_clamped", "worth_ddim")) if self.not_comparable else {}
        return {
            **headline,
            **uncompared,
            "not_comparable": self.not_comparable,
            "cost_ratio": self.cost_ratio,
            "latency_ratio": {str(batch): ratio for batch, ratio in self.latency_ratios.items()},
            "features": {distances.extractor: distances.summary() | uncompared for distances in self.distances},
            "samples": self.samples,
            "params": {"student": student.params, "teacher": teacher.params},
            "macs": {"student": student.macs, "teacher": teacher.macs},
            "latency_ms": {
                "student": {str(batch): value for batch, value in student.latency_ms.items()},
                f"teacher@{teacher.passes}": {str(batch): value for batch, value in teacher.latency_ms.items()},
            },
        }


def worth_sentence(worth: Worth | None, not_comparable: str = NO_EXTRACTOR) -> str:
    """Returns the headline as a sentence.

    Args:
        worth: of the report, None where there is none.
        not_comparable: why there is none.
    """
    if worth is None:
        if not_comparable == NO_EXTRACTOR:
            return "This student's distance to its teacher was not measured: no extractor was chosen for their images."
        return f"Not comparable: {not_comparable}, where a worth needs {COMPARABLE_SAMPLES}."
    if worth.clamped and worth.passes <= 1:
        return f"One pass of this student is worth less than {_passes(worth)} of its teacher."
    more = "more than " if worth.clamped else ""
    return f"One pass of this student is worth {more}{_passes(worth)} of its teacher by the best solver."


def _passes(worth: Worth) -> str:
    number = f"{worth.passes:.0f}" if worth.clamped else f"{worth.passes:.1f}"
    return f"{number} pass" if number == "1" else f"{number} passes"
