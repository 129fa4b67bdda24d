"""References of teachers: the teacher at 1 to 50 DDIM steps on the evaluation's noises; students are compared with it.

A reference needs far more passes than a student's evaluation. So it is computed once per teacher, extractor, seed and
number of samples, and cached under the digest of these below `<root>/references`. Those of embedded teachers are
shipped with the package.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from advkd.diffusion import decoded
from advkd.evaluation.distances import CURVE_STEPS
from advkd.evaluation.real import is_default, real_images
from advkd.evaluation.scores import ReferenceSet, Scores, score
from advkd.evaluation.teacher_states import (
    EVALUATION_START,
    PassCounter,
    clean_timesteps,
    condition_facts,
    evaluation_start,
    teacher_states,
)
from advkd.features import AUTO, Extractor, chosen_features, state_features
from advkd.files import record_from_json
from advkd.teachers import SolverSpec, Teacher, load_teacher
from storage.objects import join, write_bytes

TARGET_STEPS = 50
STEPS = (*CURVE_STEPS, TARGET_STEPS)
SAMPLES = 2048
PICTURES = 64
LAYOUT = 1
SHIPPED = Path(__file__).parent / "references"


@dataclass(frozen=True, kw_only=True)
class TeacherPoint:
    """The teacher at one number of steps, compared with itself at 50 (None there) and with real images (if any)."""

    steps: int
    to_teacher: Scores | None
    to_real: Scores | None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference of a teacher.

    Attributes:
        digest: digest of everything that determines the reference; its name.
        points: scores of the teacher at every number of steps.
        features: features of the images at 50 steps, `[N, D]`, rounded to float16.
        pictures: first 64 images at 50 steps, `[64, C, H, W]`, rounded to float16.
        real_set: real images with which the points were compared, None if there are none.
        real_sha256: sha256 of the real images, "" if there are none.
    """

    digest: str
    points: tuple[TeacherPoint, ...]
    features: Tensor
    pictures: Tensor
    real_set: ReferenceSet | None
    real_sha256: str

    @property
    def teacher_set(self) -> ReferenceSet:
        """The teacher at 50 steps, as a set to compare with."""
        return ReferenceSet(f"teacher@{TARGET_STEPS}", self.features)

    @property
    def curve(self) -> dict[int, float]:
        """Frechet distance to the teacher at 50 steps, by number of steps."""
        return {point.steps: point.to_teacher.fd.value for point in self.points if point.to_teacher is not None}


def references_for(
    teacher: Teacher,
    extractors: Sequence[Extractor],
    *,
    root: str,
    solver: str = "ddim",
    real: str | None = None,
    seed: int = 0,
    samples: int = SAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Reference, ...]:
    """Returns the references of a teacher: shipped with the package, cached below `root`, or computed and cached.

    Args:
        teacher: a teacher with a deterministic solver.
        extractors: extractors, with one reference for each; missing references share the teacher's passes.
        root: URI of the cache.
        solver: kind of the deterministic solver.
        real: see `advkd.evaluation.real.real_images`.
        seed: base seed of the evaluation's noises.
        samples: number of noises.
        progress: `progress(done passes, total passes)`, called only if a reference is computed.

    Raises:
        EvaluationError: a state of the teacher holds NaN, or the real images cannot be used.
    """
    wanted = [_Wanted.of(teacher, solver, extractor, real, seed, samples) for extractor in extractors]
    stored = [_kept(reference, root) for reference in wanted]
    missing = [reference for reference, arrays in zip(wanted, stored, strict=True) if arrays is None]
    computed = iter(_compute(teacher, solver, missing, seed, samples, progress)) if missing else iter(())
    references = []
    for reference, kept in zip(wanted, stored, strict=True):
        arrays = next(computed) if kept is None else kept
        if kept is None:
            write_arrays(join(root, "references", reference.file), reference.facts, arrays)
        references.append(_from_arrays(reference, arrays))
    return tuple(references)


def ship_reference(
    teacher_name: str,
    features: str = AUTO,
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    folder: Path = SHIPPED,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Computes the reference of an embedded teacher again and writes it into the package; returns the file.

    Raises:
        ValueError: the teacher has no extractor, or several.
    """
    teacher = load_teacher(teacher_name)
    extractors = chosen_features(features, teacher)
    if len(extractors) != 1:
        raise ValueError(
            f"a reference is in the features of one extractor, got {len(extractors)} by {features!r} for "
            f"{teacher_name!r}; name one"
        )
    wanted = _Wanted.of(teacher, "ddim", extractors[0], None, seed, samples)
    path = folder / wanted.file
    write_bytes(str(path), pack_arrays(wanted.facts, *_compute(teacher, "ddim", [wanted], seed, samples, progress)))
    return path


@dataclass(frozen=True)
class _Wanted:
    """What determines a reference: an extractor, a set of real images, and the facts in its digest."""

    extractor: Extractor
    real: ReferenceSet | None
    real_sha256: str
    facts: dict[str, object]

    @classmethod
    def of(
        cls, teacher: Teacher, solver: str, extractor: Extractor, real: str | None, seed: int, samples: int
    ) -> "_Wanted":
        images = real_images(real, extractor, teacher)
        facts: dict[str, object] = {
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
        if not is_default(real, extractor, teacher):
            facts["real"] = None if images is None else images.sha256
        real_set = None if images is None else ReferenceSet(images.name, extractor(images.images))
        return cls(extractor, real_set, "" if images is None else images.sha256, facts)

    @property
    def file(self) -> str:
        return f"{content_digest(self.facts)}.npz"


def _kept(wanted: _Wanted, root: str) -> dict[str, Array] | None:
    for place in (str(SHIPPED / wanted.file), join(root, "references", wanted.file)):
        arrays = read_arrays(place, wanted.facts)
        if arrays is not None:
            return arrays
    return None


def _compute(
    teacher: Teacher,
    solver: str,
    wanted: Sequence[_Wanted],
    seed: int,
    samples: int,
    progress: Callable[[int, int], None] | None,
) -> list[Arrays]:
    """Computes the arrays of all references in one pass over the numbers of steps."""
    start = evaluation_start(teacher, seed, samples)
    counter, device = PassCounter(samples * sum(STEPS), progress), str(getattr(teacher, "device", "cpu"))
    features: list[dict[int, Tensor]] = [{} for _ in wanted]
    for steps in STEPS:
        sampled = SolverSpec(kind=solver, steps=steps)
        states = teacher_states(teacher, start, sampled, clean_timesteps(teacher, sampled), counter.add)
        for one, mine in zip(wanted, features, strict=True):
            # Rounded as they are stored, so that the curve and every later student meet the same numbers.
            mine[steps] = state_features(one.extractor, teacher.space, states[-1], device).half().float()
    pictures = decoded(teacher.space, states[-1][:PICTURES], device).numpy().astype(np.float16)
    return [
        {
            "features": mine[TARGET_STEPS].numpy().astype(np.float16),
            "pictures": pictures,
            "points": np.array(json.dumps([asdict(point) for point in _points(reference, mine)])),
        }
        for reference, mine in zip(wanted, features, strict=True)
    ]


def _points(wanted: _Wanted, features: Mapping[int, Tensor]) -> tuple[TeacherPoint, ...]:
    extractor, target = wanted.extractor, ReferenceSet(f"teacher@{TARGET_STEPS}", features[TARGET_STEPS])
    return tuple(
        TeacherPoint(
            steps=steps,
            to_teacher=None if steps == TARGET_STEPS else score(features[steps], target, extractor),
            to_real=None if wanted.real is None else score(features[steps], wanted.real, extractor),
        )
        for steps in STEPS
    )


def _from_arrays(wanted: _Wanted, arrays: Arrays) -> Reference:
    return Reference(
        digest=content_digest(wanted.facts),
        real_set=wanted.real,
        real_sha256=wanted.real_sha256,
        points=record_from_json(tuple[TeacherPoint, ...], str(arrays["points"])),
        features=torch.from_numpy(arrays["features"].astype(np.float32)),
        pictures=torch.from_numpy(arrays["pictures"].astype(np.float32)),
    )
