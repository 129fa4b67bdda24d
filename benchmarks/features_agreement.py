"""`make bench-features`: do extractors agree on which of two samplers is nearer to the teacher's fine solution?

The points of a teacher's curve, DDIM and UniPC at some numbers of steps, and the students that are given are ordered by
their Frechet distance to a fine solution of the same noises, once in each extractor's features. Agreement is Spearman's
rank correlation of these orders. What goes into the extractor `teacher` is varied too: its noise levels.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor

import advkd.features.teacher as own
from advkd.distances import Accumulator, FeatureSet, frechet_distance
from advkd.evaluation.student_states import student_states
from advkd.evaluation.teacher_states import clean_timesteps, evaluation_start, teacher_states
from advkd.features import chosen_features, state_features
from advkd.students import load_student
from advkd.teachers import SolverSpec, Teacher, load_teacher
from benchmarks.measure import DOCS, progress, table, write_section

TEACHERS = ("digits", "digits-classes")
POINTS = tuple(
    [("ddim", steps) for steps in (1, 2, 4, 5, 10, 20)] + [("unipc", steps) for steps in (2, 4, 6, 8, 10, 20)]
)
FINE = SolverSpec(kind="unipc", steps=50)
LEVELS = (own.LEVELS, (0.05,), (0.2,), (0.5,), (1.0,), (0.2, 1.0))
Features = Callable[[Tensor], Tensor]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    head = (
        "# Agreement of extractors\n\n`make bench-features` orders the points of a teacher's curve, and students, by "
        f"their Fréchet distance to its fine solution (UniPC with {FINE.steps} steps, the same noises), in each "
        "extractor's features. Agreement of two orders is Spearman's rank correlation: 1 is the same order, 0 none."
    )
    for source in options.teachers.split(","):
        name, text = _measured(source, options)
        if options.write:
            write_section(DOCS / "benchmarks" / "features.md", name, text, head)
        else:
            print(text)


def _measured(source: str, options: argparse.Namespace) -> tuple[str, str]:
    """The teacher's name, and its section of the page."""
    teacher = load_teacher(source)
    name = teacher.name
    progress(f"{name}: states")
    points = {f"{kind} {steps}": _clean(teacher, SolverSpec(kind=kind, steps=steps), options) for kind, steps in POINTS}
    for number, folder in enumerate(options.students):
        student = load_student(folder)
        if student.sample_shape == teacher.space.shape:
            start = evaluation_start(teacher, 0, options.samples)
            parts = [student_states(student, part, "cpu", teacher.conditions) for part in start.split(256)]
            points[f"student {number + 1}"] = torch.cat(parts)
    fine = _clean(teacher, FINE, options)
    distances: dict[str, dict[str, float]] = {}
    for extractor in chosen_features(options.features, teacher):

        def features(states: Tensor, extractor: object = extractor) -> Tensor:
            return state_features(extractor, teacher.space, states, "cpu")  # type: ignore[arg-type]

        progress(f"{name}: {extractor.name}")
        distances[f"{extractor.name} ({extractor.dims})"] = _distances(features, points, fine)
    rows = [[point, *(f"{column[point]:.3g}" for column in distances.values())] for point in points]
    pairs = [[a, b, f"{_agreement(distances[a], distances[b]):.3f}"] for a, b in combinations(distances, 2)]
    return name, (
        f"## Teacher {name}\n\n{options.samples} noises{_named(options.students)}.\n\n"
        + table(["sampler", *(f"FD, {extractor}" for extractor in distances)], rows)
        + "\n\n"
        + table(["extractor", "extractor", "rank correlation"], pairs)
        + "\n\n"
        + _levels(teacher, points, fine, next(iter(distances.values())))
    )


def _named(students: Sequence[str]) -> str:
    """Which students were measured, by the last parts of their folders that say so."""
    folders = [Path(folder).parent.name if Path(folder).name == "student" else Path(folder).name for folder in students]
    return "".join(f"{'; student' if k == 1 else ', student'} {k}: `{name}`" for k, name in enumerate(folders, 1))


def _levels(teacher: Teacher, points: Mapping[str, Tensor], fine: Tensor, digits: Mapping[str, float]) -> str:
    """The extractor `teacher` at other noise levels, against the first extractor."""
    rows, stated = [], own.LEVELS
    try:
        for levels in LEVELS:
            own.LEVELS = levels
            (extractor,) = chosen_features("teacher", teacher)
            progress(f"{teacher.name}: levels {levels}")
            found = _distances(extractor.of_states, points, fine)  # type: ignore[attr-defined]
            told = ", ".join(f"{level:g}" for level in levels) + (" (as it is)" if levels == stated else "")
            rows.append([told, str(extractor.dims), f"{_agreement(found, digits):.3f}"])
    finally:
        own.LEVELS = stated
    return table(["noise levels s / a of `teacher`", "dimensions", "rank correlation with the first"], rows)


def _distances(features: Features, points: Mapping[str, Tensor], fine: Tensor) -> dict[str, float]:
    reference = _set(features(fine))
    return {point: frechet_distance(_set(features(states)), reference) for point, states in points.items()}


def _set(features: Tensor) -> FeatureSet:
    accumulator = Accumulator(features.shape[1])
    accumulator.add(features)
    return accumulator.finished("points")


def _agreement(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    return float(spearmanr([ours[point] for point in ours], [theirs[point] for point in ours])[0])


def _clean(teacher: Teacher, solver: SolverSpec, options: argparse.Namespace) -> Tensor:
    start = evaluation_start(teacher, 0, options.samples)
    return teacher_states(teacher, start, solver, clean_timesteps(teacher, solver))[-1]


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teachers", default=",".join(TEACHERS))
    parser.add_argument("--students", nargs="*", default=[], help="Folders of students, measured beside their teacher.")
    parser.add_argument("--features", default="digits,teacher,efficientnet-lite0")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="Write docs/benchmarks/features.md.")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
