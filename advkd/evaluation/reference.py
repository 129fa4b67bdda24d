"""What a teacher's students are measured against: the teacher at 1 to 50 DDIM steps on the evaluation's noises.

It costs far more passes than a student's evaluation, so it is computed once per teacher, feature extractor, seed and
sample count, kept under the digest of these below `<root>/references`, and reused. Embedded teachers ship theirs.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from advkd.evaluation.arrays import Arrays, content_digest, pack_arrays, read_arrays, write_arrays
from advkd.evaluation.distances import CURVE_STEPS
from advkd.evaluation.features import FeatureExtractor, features_for
from advkd.evaluation.scores import ReferenceSet, Scores, score
from advkd.evaluation.teacher_states import (
    EVALUATION_START,
    PassCounter,
    clean_timesteps,
    condition_facts,
    evaluation_start,
    teacher_states,
)
from advkd.files import from_record
from advkd.teachers import SolverSpec, Teacher, load_teacher
from storage.objects import join, write_bytes

TARGET_STEPS = 50
STEPS = (*CURVE_STEPS, TARGET_STEPS)
SAMPLES = 2048
PICTURES = 64
LAYOUT = 1
SHIPPED = Path(__file__).parent / "references"
REAL_DIGITS = "real digits"


@dataclass(frozen=True, kw_only=True)
class TeacherPoint:
    """The teacher at one number of steps, against itself at 50 (None there) and real images (None if unknown)."""

    steps: int
    to_teacher: Scores | None
    to_real: Scores | None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A teacher's reference.

    Attributes:
        digest: names it; over all that determines it.
        points: the teacher at every number of steps.
        features: at 50 steps, `[N, D]`, rounded to float16.
        pictures: the first 64 images at 50 steps, `[64, C, H, W]`, rounded to float16.
    """

    digest: str
    points: tuple[TeacherPoint, ...]
    features: Tensor
    pictures: Tensor

    @property
    def teacher_set(self) -> ReferenceSet:
        """The teacher at 50 steps, as something to be judged against."""
        return ReferenceSet(f"teacher@{TARGET_STEPS}", self.features)

    @property
    def curve(self) -> dict[int, float]:
        """Frechet distance to the teacher at 50 steps, by number of steps."""
        return {point.steps: point.to_teacher.fd.value for point in self.points if point.to_teacher is not None}


def real_set(shape: tuple[int, int, int], extractor: FeatureExtractor) -> ReferenceSet | None:
    """The real images of that shape, if they are known: scikit-learn's digits for 1x16x16."""
    from advkd.teachers.digits import SHAPE, digit_images

    return ReferenceSet(REAL_DIGITS, extractor(digit_images())) if shape == SHAPE else None


def reference_for(
    teacher: Teacher,
    *,
    root: str,
    solver: str = "ddim",
    seed: int = 0,
    samples: int = SAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> Reference:
    """The reference of a teacher: shipped with the package, cached below `root`, or computed now and cached.

    Args:
        teacher: any deterministic teacher.
        root: URI of the cache.
        solver: kind of the deterministic solver.
        seed: base seed of the evaluation's noises.
        samples: number of noises.
        progress: `progress(done passes, total passes)`, called only where it is computed.

    Raises:
        EvaluationError: no extractor for the teacher's images, or NaN in its states.
    """
    extractor = features_for(teacher.space.image_shape)
    facts = _facts(teacher, solver, extractor, seed, samples)
    name = f"{content_digest(facts)}.npz"
    uri = join(root, "references", name)
    for place in (str(SHIPPED / name), uri):
        found = read_arrays(place, facts)
        if found is not None:
            return _from_arrays(content_digest(facts), found)
    arrays = _compute(teacher, solver, extractor, seed, samples, progress)
    write_arrays(uri, facts, arrays)
    return _from_arrays(content_digest(facts), arrays)


def ship_reference(
    teacher_name: str,
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    folder: Path = SHIPPED,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Computes the reference of an embedded teacher anew and writes it into the package; returns the file."""
    teacher = load_teacher(teacher_name)
    extractor = features_for(teacher.space.image_shape)
    facts = _facts(teacher, "ddim", extractor, seed, samples)
    path = folder / f"{content_digest(facts)}.npz"
    write_bytes(str(path), pack_arrays(facts, _compute(teacher, "ddim", extractor, seed, samples, progress)))
    return path


def _facts(teacher: Teacher, solver: str, extractor: FeatureExtractor, seed: int, samples: int) -> dict[str, object]:
    return {
        "kind": "reference",
        "layout": LAYOUT,
        "teacher": teacher.fingerprint,
        "solver": teacher.solver_config(SolverSpec(kind=solver, steps=TARGET_STEPS)),
        "steps": list(STEPS),
        "extractor": extractor.name,
        "extractor_sha256": extractor.sha256,
        "seed": seed,
        "first_index": EVALUATION_START,
        "samples": samples,
        **condition_facts(teacher),
    }


def _compute(
    teacher: Teacher,
    solver: str,
    extractor: FeatureExtractor,
    seed: int,
    samples: int,
    progress: Callable[[int, int], None] | None,
) -> Arrays:
    start = evaluation_start(teacher, seed, samples)
    counter = PassCounter(samples * sum(STEPS), progress)
    features: dict[int, Tensor] = {}
    for steps in STEPS:
        sampled = SolverSpec(kind=solver, steps=steps)
        states = teacher_states(teacher, start, sampled, clean_timesteps(teacher, sampled), counter.add)
        images = teacher.space.decode(states[-1])
        # Rounded as they are stored, so that the curve and every later student meet the same numbers.
        features[steps] = extractor(images).half().float()
    target = ReferenceSet(f"teacher@{TARGET_STEPS}", features[TARGET_STEPS])
    real = real_set(teacher.space.image_shape, extractor)
    points = tuple(
        TeacherPoint(
            steps=steps,
            to_teacher=None if steps == TARGET_STEPS else score(features[steps], target, extractor),
            to_real=None if real is None else score(features[steps], real, extractor),
        )
        for steps in STEPS
    )
    return {
        "features": features[TARGET_STEPS].numpy().astype(np.float16),
        "pictures": images[:PICTURES].numpy().astype(np.float16),
        "points": np.array(json.dumps([asdict(point) for point in points])),
    }


def _from_arrays(digest: str, arrays: Arrays) -> Reference:
    return Reference(
        digest=digest,
        points=from_record(tuple[TeacherPoint, ...], json.loads(str(arrays["points"]))),
        features=torch.from_numpy(arrays["features"].astype(np.float32)),
        pictures=torch.from_numpy(arrays["pictures"].astype(np.float32)),
    )
