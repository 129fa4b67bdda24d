"""References of teachers: the curve of several solvers and the target, on the evaluation's noises.

A reference needs far more passes than a student's evaluation. So it is computed once per teacher, extractor, seed and
number of samples (`advkd.evaluation.solutions`), and kept under the digest of these below `<root>/references`. Those of
embedded teachers are shipped with the package.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from advkd.diffusion import decoded
from advkd.distances import FeatureSet, frechet_distance, set_arrays, set_of_arrays
from advkd.evaluation.curve import Curve, curve_of, passes_per_step, solution_text
from advkd.evaluation.scores import Scores, score
from advkd.evaluation.solutions import Solutions, solution_facts
from advkd.evaluation.teacher_states import PassCounter, clean_timesteps, teacher_trajectory
from advkd.features import AUTO, Extractor, chosen_features
from advkd.files import Array, Arrays, content_digest, pack_arrays, read_arrays, record_from_json, write_arrays
from advkd.teachers import SolverSpec, Teacher, load_teacher
from storage.objects import join, write_bytes

SAMPLES = 2048
PICTURES = 64
LAYOUT = 2
SHIPPED = Path(__file__).parent / "references"
Done = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class TeacherPoint:
    """The teacher under one solver that needs no training, compared with the target.

    Attributes:
        solver: name of the solver.
        passes: network passes per image; under guidance, two per step.
        to_target: scores against the target.
    """

    solver: str
    passes: int
    to_target: Scores


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference of a teacher in the features of one extractor.

    Attributes:
        digest: digest of everything that determines the reference; its name.
        curve: solvers of the points, and the target.
        points: scores of the teacher, those of fewer passes first.
        target: the features of the target.
        target_error: Frechet distance of the target to the same solver with half as many steps.
        pictures: the target's first images, `[P, C, H, W]` in [-1, 1], rounded to float16.
    """

    digest: str
    curve: Curve
    points: tuple[TeacherPoint, ...]
    target: FeatureSet
    target_error: float
    pictures: Tensor

    @property
    def distances(self) -> list[tuple[int, float]]:
        """Passes and Frechet distance to the target of every point."""
        return [(point.passes, point.to_target.fd.value) for point in self.points]

    def of(self, solver: str) -> list[tuple[int, float]]:
        """Passes and Frechet distance of one solver's points."""
        return [(point.passes, point.to_target.fd.value) for point in self.points if point.solver == solver]


def references_for(
    teacher: Teacher,
    extractors: Sequence[Extractor],
    *,
    root: str,
    curve: Curve | None = None,
    seed: int = 0,
    samples: int = SAMPLES,
    progress: Done | None = None,
) -> tuple[Reference, ...]:
    """Returns the references of a teacher: shipped with the package, cached below `root`, or computed and cached.

    Args:
        teacher: a teacher with a deterministic solver.
        extractors: extractors, with one reference for each; missing references share the teacher's passes.
        root: URI of the cache.
        curve: what is measured; None: `curve_of`.
        seed: base seed of the evaluation's noises.
        samples: number of noises.
        progress: `progress(done passes, total passes)`, called only if a reference is computed.

    Raises:
        EvaluationError: a state of the teacher holds NaN, or no deterministic solver fits it.
    """
    curve = curve or curve_of(teacher)
    kept = {extractor.name: kept_reference(teacher, curve, extractor, root, seed, samples) for extractor in extractors}
    missing = tuple(extractor for extractor in extractors if kept[extractor.name] is None)
    if missing:
        solutions = Solutions(teacher=teacher, extractors=missing, root=root, seed=seed, samples=samples)
        computed = _compute(solutions, curve, progress)
        for extractor, made in zip(missing, computed, strict=True):
            facts = _facts(teacher, curve, extractor, seed, samples)
            write_arrays(join(root, "references", f"{content_digest(facts)}.npz"), facts, made)
            kept[extractor.name] = made
    return tuple(
        _from_arrays(content_digest(_facts(teacher, curve, extractor, seed, samples)), curve, arrays)
        for extractor in extractors
        if (arrays := kept[extractor.name]) is not None
    )


def ship_reference(
    teacher_name: str,
    features: str = AUTO,
    *,
    root: str,
    seed: int = 0,
    samples: int = SAMPLES,
    folder: Path = SHIPPED,
    progress: Done | None = None,
) -> Path:
    """Computes the reference of an embedded teacher again and writes it into the package; returns the file.

    What is computed so far lies below `root`, so the same call goes on.

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
    curve = curve_of(teacher)
    solutions = Solutions(teacher=teacher, extractors=extractors, root=root, seed=seed, samples=samples)
    facts = _facts(teacher, curve, extractors[0], seed, samples)
    (arrays,) = _compute(solutions, curve, progress)
    path = folder / f"{content_digest(facts)}.npz"
    write_bytes(str(path), pack_arrays(facts, arrays))
    return path


def _facts(teacher: Teacher, curve: Curve, extractor: Extractor, seed: int, samples: int) -> dict[str, object]:
    configs = {solver.kind: teacher.solver_config(solver) for solver in curve.solutions}
    return {
        **solution_facts(teacher, curve.target, extractor, seed, samples),
        "kind": "reference",
        "layout": LAYOUT,
        "solver_config": configs,
        "half": curve.half.steps,
        "points": [[solver.kind, solver.steps] for solver in curve.points],
    }


def kept_reference(
    teacher: Teacher, curve: Curve, extractor: Extractor, root: str, seed: int, samples: int
) -> Mapping[str, Array] | None:
    """Returns the arrays of a reference that is shipped or cached, None if there is none."""
    facts = _facts(teacher, curve, extractor, seed, samples)
    name = f"{content_digest(facts)}.npz"
    for place in (str(SHIPPED / name), join(root, "references", name)):
        arrays = read_arrays(place, facts)
        if arrays is not None:
            return arrays
    return None


def _compute(solutions: Solutions, curve: Curve, progress: Done | None) -> list[Arrays]:
    """Computes the arrays of one reference per extractor; a solution's features are dropped when it is scored."""
    per_step = passes_per_step(solutions.teacher, curve.target)
    owed = {solver: per_step * solutions.missing_passes(solver) for solver in curve.solutions}
    total = sum(owed.values())
    counter = PassCounter(total, progress)

    def sets_of(solver: SolverSpec) -> tuple[FeatureSet, ...]:
        sets = solutions.sets(solver, lambda passes: counter.add(per_step * passes))
        # Other runs may have computed pieces of it.
        owed.pop(solver, None)
        counter.reach(total - sum(owed.values()))
        return sets

    targets = sets_of(curve.target)
    points: list[list[TeacherPoint]] = [[] for _ in targets]
    errors = [0.0 for _ in targets]
    for solver in curve.points:
        sets = sets_of(solver)
        for k, (extractor, features, target) in enumerate(zip(solutions.extractors, sets, targets, strict=True)):
            scores = score(features, target, extractor)
            points[k].append(TeacherPoint(solver=solver.kind, passes=per_step * solver.steps, to_target=scores))
            if solver == curve.half:
                errors[k] = frechet_distance(features, target)

    def drawn(done: int, of: int) -> None:
        if progress is not None:
            progress(counter.done + done, total + of)

    pictures = _pictures(solutions, curve.target, drawn).numpy().astype(np.float16)
    return [
        {
            **set_arrays(target, np.float16),
            "pictures": pictures,
            "target_error": np.array(error),
            "points": np.array(json.dumps([asdict(point) for point in scored])),
        }
        for target, scored, error in zip(targets, points, errors, strict=True)
    ]


def _pictures(solutions: Solutions, target: SolverSpec, progress: Done) -> Tensor:
    states = teacher_trajectory(
        solutions.teacher,
        solver=target,
        timesteps=clean_timesteps(solutions.teacher, target),
        seed=solutions.seed,
        rows=range(min(solutions.samples, PICTURES)),
        root=solutions.root,
        progress=progress,
    )
    device = str(getattr(solutions.teacher, "device", "cpu"))
    return decoded(solutions.teacher.space, states[-1], device).float()


def _from_arrays(digest: str, curve: Curve, arrays: Mapping[str, Array]) -> Reference:
    return Reference(
        digest=digest,
        curve=curve,
        points=record_from_json(tuple[TeacherPoint, ...], str(arrays["points"])),
        target=set_of_arrays(solution_text(curve.target), arrays),
        target_error=float(arrays["target_error"]),
        pictures=torch.from_numpy(arrays["pictures"].astype(np.float32)),
    )
