"""The training loop: a generator of step metrics, resumed by running it again.

Callers log, show progress and stop; the loop itself saves checkpoints and, at the end, the averaged student.
"""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from advkd.cpu import no_denormals, torch_threads
from advkd.device import torch_device
from advkd.training.checkpoint import checkpoints, load_checkpoint, run_identity, save_checkpoint
from advkd.training.data import to_torch
from advkd.training.folders import own_folder, whole_folder
from advkd.training.spec import TrainSpec
from advkd.training.state import TrainState, build_student
from advkd.training.step import train_step
from storage import Batch, Manifest, TrajectoryLoader, TrajectorySpec, open_store

logger = logging.getLogger(__name__)

STUDENT_FOLDER = "student"


class NonFiniteLossError(ArithmeticError):
    """A loss or a weight became NaN or infinite: the run stopped, its last good checkpoint is kept."""


@dataclass(frozen=True)
class StepMetrics:
    """The clock (samples seen, of `total`), the phase, and the losses of one step.

    `margin` is D(teacher) - D(student) in logits; seconds are the means per step since the last report.
    """

    samples: int
    total: int
    adversarial_phase: bool
    distillation: float
    adversarial: float
    discriminator: float
    margin: float
    adversarial_scale: float
    learning_rate: float
    data_seconds: float
    step_seconds: float


def train(spec: TrainSpec, store: str, out: Path) -> Iterator[StepMetrics]:
    """Trains a student from the store alone; yields every `spec.report_every` steps and after the last one.

    The same call on the same `out` continues from its newest checkpoint, and yields nothing where the run is already
    finished. On a CPU the final weights are bit-identical to those of an uninterrupted run.

    Args:
        spec: the run.
        store: URI of a sealed store.
        out: local folder for checkpoints and, at the end, `student/` (config.json and safetensors of the average).

    Raises:
        StoreError: the store is missing, unsealed or damaged.
        CheckpointError: `out` belongs to another run, or its checkpoint is damaged.
        NonFiniteLossError: with the last good checkpoint kept.
    """
    with torch_threads(spec.threads), no_denormals():
        # Whatever does not fit is refused before the folder is touched.
        manifest = open_store(store).manifest
        state = TrainState(spec, manifest.spec)
        _loader(spec, store, None)
        with own_folder(out):
            yield from _train(spec, store, manifest, state, out)


def _train(spec: TrainSpec, store: str, manifest: Manifest, state: TrainState, out: Path) -> Iterator[StepMetrics]:
    identity = run_identity(spec, manifest.digest)
    cursor: dict[str, Any] = {}
    for newest in checkpoints(out)[-1:]:
        cursor = load_checkpoint(newest, state, identity)
        logger.info("continuing from %s", newest)
    # A store that was extended meanwhile goes on giving the samples that the run began with.
    loader = _loader(spec, store, cursor.get("num_samples"))
    if cursor:
        loader.load_state_dict(cursor)
    last = spec.steps * spec.batch_size
    # Closed however this ends: the loader reads ahead in threads.
    with closing(iter(loader)) as batches:
        for metrics in _steps(spec, state, batches, manifest.spec.timesteps, last):
            due = state.samples // spec.checkpoint_every > (state.samples - spec.batch_size) // spec.checkpoint_every
            if metrics is not None or due:
                _refuse_non_finite(state, metrics, out)
            if due or state.samples == last:
                save_checkpoint(out, state, identity, loader.state_dict())
            if metrics is not None:
                yield metrics
    export_student(state, manifest.spec, spec, out / STUDENT_FOLDER)


def _loader(spec: TrainSpec, store: str, num_samples: int | None) -> TrajectoryLoader:
    return TrajectoryLoader(
        store,
        batch_size=spec.batch_size,
        seed=spec.seed,
        window=spec.window,
        cache=spec.cache,
        num_samples=num_samples,
    )


def learning_rate(spec: TrainSpec, samples: int) -> float:
    """The student's rate after `samples` samples: linear rise, then a cosine to zero at the end of the run."""
    rise = min(1.0, (samples + spec.batch_size) / max(spec.rise_samples, spec.batch_size))
    return spec.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * samples / spec.samples))


def export_student(state: TrainState, store: TrajectorySpec, spec: TrainSpec, folder: Path) -> None:
    """Saves the averaged student as config.json and safetensors; the folder appears whole or not at all.

    Raises:
        OSError: it cannot be written; nothing of it is kept.
    """
    averaged = build_student(spec, store)
    averaged.load_state_dict({name: value.cpu() for name, value in state.ema.state_dict().items()})
    with whole_folder(folder, "a student") as partial:
        averaged.save_pretrained(partial, safe_serialization=True)


def _steps(
    spec: TrainSpec, state: TrainState, batches: Iterator[Batch], timesteps: tuple[int, ...], last: int
) -> Iterator[StepMetrics | None]:
    device = torch_device(spec.device)
    data_seconds = step_seconds = 0.0
    steps_since_report = 0
    while state.samples < last:
        began = time.perf_counter()
        batch = to_torch(next(batches), timesteps, device)
        loaded = time.perf_counter()
        rate = learning_rate(spec, state.samples)
        for group in state.student_optimizer.param_groups:
            group["lr"] = rate
        adversarial = state.samples >= spec.warmup * spec.samples
        losses = train_step(state, batch, spec, adversarial=adversarial)
        state.samples += spec.batch_size
        # The average is short at first, as there is nothing yet to average (EDM, section F).
        state.ema.update(state.student, spec.batch_size, min(spec.ema_halflife, 0.1 * state.samples))
        data_seconds += loaded - began
        step_seconds += time.perf_counter() - began
        steps_since_report += 1
        # Numbers are read from the device only when they are reported.
        if (state.samples // spec.batch_size) % spec.report_every and state.samples < last:
            yield None
            continue
        yield StepMetrics(
            samples=state.samples,
            total=last,
            adversarial_phase=adversarial,
            distillation=losses.distillation.item(),
            adversarial=losses.adversarial.item(),
            discriminator=losses.discriminator.item(),
            margin=(losses.real_logit - losses.fake_logit).item(),
            adversarial_scale=losses.adversarial_scale.item(),
            learning_rate=rate,
            data_seconds=data_seconds / steps_since_report,
            step_seconds=step_seconds / steps_since_report,
        )
        data_seconds = step_seconds = 0.0
        steps_since_report = 0


def _refuse_non_finite(state: TrainState, metrics: StepMetrics | None, out: Path) -> None:
    losses = [] if metrics is None else [metrics.distillation, metrics.adversarial, metrics.discriminator]
    norms = torch._foreach_norm([p.detach() for p in (*state.student.parameters(), *state.discriminator.parameters())])
    if all(math.isfinite(loss) for loss in losses) and bool(torch.isfinite(torch.stack(norms)).all()):
        return
    kept = checkpoints(out)[-1:]
    raise NonFiniteLossError(
        f"losses and weights must stay finite, got {losses} after {state.samples} samples; the last good checkpoint is "
        f"{kept[0] if kept else 'none yet'}; lower learning_rate or adversarial_weight, or use float32, and run again "
        "in another output folder"
    )
