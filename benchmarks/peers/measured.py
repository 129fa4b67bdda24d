"""One run of a peer: its training, its figures, its first images."""

from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from advkd.device import torch_threads
from advkd.evaluation.cost import measure_cost
from advkd.evaluation.curve import Curve, curve_of, fits
from advkd.evaluation.measured import measured_distances, read_as_asked
from advkd.evaluation.reference import references_for
from advkd.evaluation.student_images import student_images
from advkd.features import chosen_features
from advkd.teachers import SolverSpec, Teacher, load_teacher
from advkd.training import TrainSpec, train_spec_from_json
from benchmarks.peers.held_out import held_out_figures
from benchmarks.peers.protocol import Problem
from benchmarks.peers.table import PEERS

PICTURES = 16
TIMED_STEPS = (4, 5, 3, 2, 1)
"""Steps of the teacher beside which a student is timed: the first number that fits."""


def train_and_measure(task: dict[str, Any], root: str, pictures: str) -> dict[str, float]:
    """Trains one peer; its first images are saved as `pictures`, float16 `[P, C, H, W]` in [-1, 1].

    Args:
        task: names of peer and teacher, store, recipe, seconds, seed, features, samples and seeds of the evaluation.
        root: of what evaluations keep.
        pictures: a path that ends in .npy.
    """
    teacher = load_teacher(task["teacher"])
    recipe = train_spec_from_json(task["recipe"])
    assert isinstance(recipe, TrainSpec)
    problem = Problem(teacher=teacher, store=task["store"], seconds=task["seconds"], seed=task["seed"], given=recipe)
    trained = PEERS[task["peer"]].train(problem)
    if task["held_out"] is not None:
        extractor = chosen_features(task["features"], teacher)[0]
        figures, images = held_out_figures(trained.student, problem, extractor, task["held_out"])
    else:
        figures, images = evaluated(trained.student, teacher, task, root)
    Path(pictures).parent.mkdir(parents=True, exist_ok=True)
    np.save(pictures, images[:PICTURES].numpy().astype(np.float16), allow_pickle=False)
    return {
        **figures,
        **costs(trained.student, teacher),
        "steps": trained.steps,
        "seconds": trained.seconds,
        "passes": trained.passes,
    }


def shortened(teacher: Teacher, target_steps: int, most: int | None) -> Curve:
    """Returns a teacher's curve to a target of so many steps; of points, those of at most `most`."""
    curve = curve_of(teacher, target_steps)
    if most is None:
        return curve
    return replace(curve, points=tuple(point for point in curve.points if point.steps <= most or point == curve.half))


def evaluated(student: Any, teacher: Teacher, task: dict[str, Any], root: str) -> tuple[dict[str, float], torch.Tensor]:
    """Returns a student's figures in the first extractor's features, means over evaluation seeds; and first images."""
    extractor, samples = chosen_features(task["features"], teacher)[0], task["evaluation_samples"]
    curve = shortened(teacher, task["target_steps"], task["curve_steps"])
    runs: list[dict[str, float]] = []
    pictures = torch.zeros(0)
    with torch_threads(1):
        for seed in range(task["evaluation_seeds"]):
            (reference,) = references_for(teacher, [extractor], root=root, curve=curve, seed=seed, samples=samples)
            images = student_images(
                student, teacher, [extractor], seed=seed, samples=samples, device="cpu", progress=lambda *_: None
            )
            (features,) = images.sets
            asked = read_as_asked(extractor, features, reference, teacher, images.numbers)
            found = measured_distances(extractor, reference, teacher, features, images.numbers, None, asked)
            read = found.fidelity
            named = {name: getattr(found.to_teacher, name) for name in ("fd", "kd", "precision", "recall", "coverage")}
            runs.append(
                {
                    "worth": found.worth.passes,
                    "clamped": float(found.worth.clamped),
                    **{name: metric.value for name, metric in named.items() if metric is not None},
                    **({"labels": read.student / read.teacher} if read is not None and read.teacher else {}),
                }
            )
            pictures = pictures if len(pictures) else images.pictures[:PICTURES]
    return {name: fmean(run[name] for run in runs) for name in runs[0]}, pictures


def costs(student: Any, teacher: Teacher) -> dict[str, float]:
    """Returns what one pass of a student and one step of its teacher cost, timed in turns on this machine."""
    kind = curve_of(teacher).target.kind
    steps = next(count for count in TIMED_STEPS if fits(teacher, kind, count))
    cost = measure_cost(student, teacher, solver=SolverSpec(kind=kind, steps=steps), seconds=0.5)
    return {
        "params": float(cost.student.params or 0),
        "macs": float(cost.student.macs or 0),
        "milliseconds": cost.student.latency_ms[64],
        "milliseconds_of_one": cost.student.latency_ms[1],
        "teacher_params": float(cost.teacher.params or 0),
        "teacher_macs": (cost.teacher.macs or 0) / steps,
        "teacher_milliseconds": cost.teacher.latency_ms[64] / steps,
        "teacher_milliseconds_of_one": cost.teacher.latency_ms[1] / steps,
    }
