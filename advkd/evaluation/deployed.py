"""Distance to a teacher of images that something other than the student in torch has made, such as an exported network.

Images are compared as they come out, in [0, 1] and whole: a report compares states before they are clipped, so the
figures of both differ a little.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from advkd.distances import Accumulator, frechet_distance
from advkd.evaluation.curve import passes_per_step
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.pair import check_pair
from advkd.evaluation.reference import SAMPLES, Reference, references_for
from advkd.evaluation.results import COMPARABLE_SAMPLES
from advkd.evaluation.teacher_states import evaluation_part
from advkd.evaluation.worth import Worth, worth_passes
from advkd.features import AUTO, Extractor, chosen_features
from advkd.networks import adopt_embeddings
from advkd.students import AnyStudent
from advkd.teachers import SolverSpec, Teacher, load_teacher

_BATCH = 64
Images = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""From noise `[B, C, H, W]` and the drawn conditions to images `[B, *image_shape]` in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class ImageDistance:
    """How far images are from the teacher's.

    Attributes:
        fd: Frechet distance to the target, in the extractor's features.
        worth: passes of the teacher for that distance; None where there are too few images for one.
        samples: number of images.
        extractor: name of the features.
        target: what they are compared with, such as "teacher@100 unipc".
    """

    fd: float
    worth: Worth | None
    samples: int
    extractor: str
    target: str


@dataclass(frozen=True, kw_only=True)
class TeacherAtHand:
    """A teacher with its reference in the headline's features, and the noises of an evaluation."""

    teacher: Teacher
    extractor: Extractor
    reference: Reference
    samples: int
    seed: int = 0

    def distance(self, images: Images) -> ImageDistance:
        """Measures the distance of what `images` makes of the evaluation's noises."""
        gathered = Accumulator(self.extractor.dims)
        for first in range(0, self.samples, _BATCH):
            start = evaluation_part(self.teacher, self.seed, range(first, min(self.samples, first + _BATCH)))
            gathered.add(self.extractor(2 * images(start.noise, start.condition) - 1))
        fd = frechet_distance(gathered.finished("images"), self.reference.target)
        enough = self.samples >= COMPARABLE_SAMPLES
        return ImageDistance(
            fd=fd,
            worth=worth_passes(self.reference.distances, fd) if enough else None,
            samples=self.samples,
            extractor=self.extractor.name,
            target=self.reference.target.name,
        )

    def solver_worth(self, fd: float) -> SolverSpec:
        """Returns what the teacher takes for this distance: the fewest passes that reach it, else the finest."""
        points = sorted(self.reference.points, key=lambda point: point.passes)
        reaching = [point for point in points if point.to_target.fd.value <= fd]
        point = reaching[0] if reaching else min(points, key=lambda each: each.to_target.fd.value)
        per_step = passes_per_step(self.teacher, self.reference.curve.target)
        return SolverSpec(kind=point.solver, steps=point.passes // per_step)


def teacher_at_hand(
    source: str,
    student: AnyStudent,
    *,
    student_weights: Path,
    references: str,
    features: str,
    weights: str | None = None,
    samples: int = SAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> TeacherAtHand | None:
    """Loads a teacher and its reference, which is computed if it is not cached; None where "auto" knows no extractor.

    Args:
        source: of the teacher, as in `EvaluateSpec`.
        student: its student.
        student_weights: folder of the student's weights, with the embeddings of its prompts, if any.
        references: root URI of the cache.
        features: as in `EvaluateSpec`; the first extractor counts.
        weights: as in `EvaluateSpec`.
        samples: number of noises.
        progress: `progress(done passes, total passes)`.

    Raises:
        TeacherError: the teacher cannot be used.
        FeatureError: an extractor does not take its images.
        EvaluationError: the features are "none", or the student is none of this teacher.
    """
    teacher = load_teacher(source)
    check_pair(student, teacher)
    adopt_embeddings(teacher.conditions, student_weights)
    extractors = chosen_features(features, teacher, weights=weights)
    if not extractors and features == AUTO:
        return None
    if not extractors:
        raise EvaluationError(
            f"a distance to the teacher needs features, got {features!r}; name an extractor, or leave the teacher out"
        )
    with torch.no_grad():
        (reference,) = references_for(teacher, extractors[:1], root=references, samples=samples, progress=progress)
    return TeacherAtHand(teacher=teacher, extractor=extractors[0], reference=reference, samples=samples)
