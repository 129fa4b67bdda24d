"""One variant of the recipe: its budget in samples, its training, its figures."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from advkd.device.threads import no_denormals, torch_threads
from advkd.distances import frechet_distance
from advkd.evaluation.measured import measured_distances
from advkd.evaluation.reference import references_for
from advkd.evaluation.student_images import student_images
from advkd.features import digits_extractor
from advkd.images import real_features
from advkd.networks import multiply_adds, parameters
from advkd.students.loading import load_student
from advkd.teachers import load_teacher
from advkd.training.data import to_torch
from advkd.training.loop import train
from advkd.training.methods.layerwise import LayerwiseMethod
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.spec_json import train_spec_from_json
from storage import TrajectoryLoader, open_store

PROBED_STEPS = 5


def train_and_evaluate(task: dict[str, Any], root: str) -> dict[str, float]:
    """Trains one variant for its share of CPU seconds, and the figures of that run."""
    spec, store = train_spec_from_json(task["train"]), task["store"]
    assert isinstance(spec, TrainSpec)
    spec = replace(spec, seed=task["seed"], checkpoint_every=10**9, report_every=100)
    steps = max(2, round(task["steps"] * _relative_speed(spec, train_spec_from_json(task["base"]), store)))
    spec = replace(
        spec,
        samples=steps * spec.batch_size,
        rise_samples=min(spec.rise_samples, steps * spec.batch_size // 10),
        ema_halflife=task["ema_share"] * steps * spec.batch_size,
    )
    out = Path(root) / "work" / f"{os.getpid()}"
    began = time.process_time()
    *_, last = train(spec, store, out)
    taken = time.process_time() - began
    found = evaluate(out, root, task["evaluation_samples"], task["evaluation_seeds"])
    shutil.rmtree(out)
    return {**found, "steps": steps, "steps_per_second": steps / taken, "error": last.distillation}


def evaluate(out: Path, root: str, samples: int, seeds: list[int], name: str = "digits") -> dict[str, float]:
    """Distances of a student to the teacher of that name and to real digits, means over evaluation seeds."""
    student, teacher = load_student(out), load_teacher(name)
    extractor = digits_extractor()
    real = real_features("digits", extractor, teacher.space.image_shape, root)
    figures: list[dict[str, float]] = []
    with torch_threads(1):
        for seed in seeds:
            (reference,) = references_for(teacher, [extractor], root=root, seed=seed, samples=samples)
            images = student_images(
                student, teacher, [extractor], seed=seed, samples=samples, device="cpu", progress=lambda *_: None
            )
            measured = measured_distances(extractor, reference, teacher, images.sets[0], images.numbers, None)
            scores = measured.to_teacher
            assert scores.recall is not None
            assert scores.precision is not None
            assert measured.worth_ddim is not None
            figures.append(
                {
                    "worth": measured.worth.passes,
                    "worth_ddim": measured.worth_ddim.passes,
                    "fd": scores.fd.value,
                    "recall": scores.recall.value,
                    "precision": scores.precision.value,
                    "fd_real": frechet_distance(images.sets[0], real),
                }
            )
    means = {name: fmean(each[name] for each in figures) for name in figures[0]}
    with torch.no_grad():
        macs = multiply_adds(lambda: student(torch.zeros(1, *student.sample_shape)))
    return {**means, "params": parameters(student), "macs": macs}


@torch_threads(1)
@no_denormals()
def _relative_speed(spec: TrainSpec, base: TrainSpec, store: str) -> float:
    """Steps of a run in the CPU time of one of the base's; probed in turns, as a busy machine slows both alike."""
    probes = [step for one in (spec, base) for step in _probes(one, store)]
    rounds = [[_cpu_seconds(step) for step in probes] for _ in range(PROBED_STEPS)]
    distilling, playing, base_distilling, base_playing = (median(taken) for taken in zip(*rounds, strict=True))
    mine = spec.warmup * distilling + (1.0 - spec.warmup) * playing
    theirs = base.warmup * base_distilling + (1.0 - base.warmup) * base_playing
    return theirs / mine


def _probes(spec: TrainSpec, store: str) -> list[Callable[[], object]]:
    """Some steps of distillation, and as many with the discriminator, of which one has the penalty."""
    found = []
    for warmup in (1.0, 0.0):
        method = LayerwiseMethod(replace(spec, warmup=warmup), open_store(store).manifest.spec)
        batches = iter(
            TrajectoryLoader(store, timesteps=method.store.timesteps, batch_size=spec.batch_size, seed=1, window=1)
        )
        batch = to_torch(next(batches), method.store.timesteps, torch.device("cpu"))
        batches.close()
        method.step(batch)
        found.append(lambda method=method, batch=batch: [method.step(batch) for _ in range(spec.penalty_every)])
    return found


def _cpu_seconds(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began
