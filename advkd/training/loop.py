"""The training loop: a generator of step metrics; to resume a run, call it again.

Callers log, show progress and stop; the loop saves checkpoints and, at the end, the averaged student.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advkd.device import no_denormals, torch_device, torch_threads
from advkd.diffusion import Conditions, Prompts, conditions_of
from advkd.files import whole_folder
from advkd.networks import (
    DECODER,
    PROMPTS_FOLDER,
    KeptDecoder,
    copy_embeddings,
    kept_decoder,
    kept_embeddings,
    load_embeddings,
)
from advkd.students import OBSERVATIONS
from advkd.training.alarms import TrainingAlarmError, refuse_non_finite
from advkd.training.checkpoint import checkpoints, load_checkpoint, run_identity, save_checkpoint
from advkd.training.data import to_torch
from advkd.training.distributed import joined_processes
from advkd.training.methods import Method, build_method
from advkd.training.mirroring import mirrored
from advkd.training.observation import Observation, observations_to_json
from advkd.training.observer import Observer
from advkd.training.out_of_memory import memory_hint
from advkd.training.run_folder import RunFolder, run_folder
from advkd.training.run_spec import RunSpec
from advkd.training.state import TrainState
from storage import Batch, Manifest, TrajectoryLoader, open_store

logger = logging.getLogger(__name__)

STUDENT_FOLDER = "student"


@dataclass(frozen=True)
class StepMetrics:
    """Clock (samples seen, of `total`), phase and losses of one step.

    `margin` is D(teacher) - D(student) in logits; seconds are means per step since the last report.
    """

    samples: int
    total: int
    phase: str
    distillation: float
    adversarial: float
    discriminator: float
    margin: float
    adversarial_scale: float
    learning_rate: float
    data_seconds: float
    step_seconds: float

    @property
    def losses(self) -> tuple[float, float, float]:
        """The losses, which must stay finite."""
        return self.distillation, self.adversarial, self.discriminator


def train(spec: RunSpec, store: str, out: str | Path) -> Iterator[StepMetrics]:
    """Trains a student from a store; yields metrics every `spec.report_every` steps and after the last one.

    The same call with the same `out` continues from its newest checkpoint, and yields nothing if the run is finished.
    On a CPU the final weights are bit-identical to those of an uninterrupted run. Under `torchrun` all processes yield
    the same metrics (`advkd.training.distributed`).

    Args:
        spec: settings of the run.
        store: URI of a sealed store.
        out: folder or URI for checkpoints and, at the end, `student/` (config.json and safetensors of the average).

    Raises:
        StoreError: the store is missing, unsealed or damaged.
        CheckpointError: `out` belongs to another run, or its checkpoint is damaged.
        TrainingAlarmError: values that are not finite, a collapse or an exploding discriminator; the last good
            checkpoint is kept.
        StepMemoryError: a step does not fit in memory.
        ConnectionError: another process of this run ended.
        SilencedError: another process of this run has failed, and reports why.
    """
    with torch_threads(spec.threads), no_denormals(), joined_processes(spec.device) as processes:
        # A store or spec that does not fit is refused before the folder changes.
        manifest = open_store(store).manifest
        method = build_method(spec, manifest.spec, processes)
        _loader(spec, store, method, spec.trajectories)
        conditions, embeddings = _conditions(store, manifest)
        with run_folder(str(out), writes=processes.first) as folder:
            processes.wait()
            folder.fetch()
            yield from _train(spec, store, manifest, method, folder, conditions, embeddings)


def _conditions(store: str, manifest: Manifest) -> tuple[Conditions, Path | None]:
    """The conditions of a store's samples and, of prompts, the folder of their embeddings."""
    conditions = conditions_of(manifest.spec.conditioning)
    embeddings = kept_embeddings(store, manifest.spec.conditioning)
    if isinstance(conditions, Prompts) and embeddings is not None:
        conditions.adopt(load_embeddings(embeddings, conditions.facts))
    return conditions, embeddings


def _train(
    spec: RunSpec,
    store: str,
    manifest: Manifest,
    method: Method,
    folder: RunFolder,
    conditions: Conditions,
    embeddings: Path | None,
) -> Iterator[StepMetrics]:
    out, identity = folder.path, run_identity(spec, manifest.digest)
    state, processes = method.state, method.processes
    cursor: dict[str, Any] = {}
    for newest in checkpoints(out)[-1:]:
        cursor = load_checkpoint(newest, state, identity)
        logger.info("continuing from %s", newest)
    processes.require_alike("settings, store and checkpoint", (repr(spec), manifest.digest, state.samples))
    # If the store was extended meanwhile, the run still uses the samples that it started with.
    loader = _loader(spec, store, method, cursor.get("num_samples", spec.trajectories))
    if cursor:
        loader.load_state_dict(cursor)
    observer = Observer(spec, method, out)
    decoder = kept_decoder(store, manifest.spec.space) if processes.first else None
    last = spec.steps * spec.batch_size
    # The loader must be closed in any case, because it reads ahead in threads.
    with closing(iter(loader)) as batches, _told_of_alarms(folder, processes.first):
        for metrics in _steps(spec, method, batches, last, observer, conditions):
            due = state.samples // spec.checkpoint_every > (state.samples - spec.batch_size) // spec.checkpoint_every
            if metrics is not None or due:
                refuse_non_finite(state, () if metrics is None else metrics.losses, out)
            if ((due and not observer.suspicious) or state.samples == last) and processes.first:
                folder.publish_checkpoint(save_checkpoint(out, state, identity, loader.state_dict()))
            if metrics is not None:
                yield metrics
    if processes.first:
        export_student(state, out / STUDENT_FOLDER, observer.observations, decoder, embeddings)
        folder.publish_student(out / STUDENT_FOLDER)
    processes.wait()


@contextmanager
def _told_of_alarms(folder: RunFolder, first: bool) -> Iterator[None]:
    """Publishes the observations of a run that an alarm stops; no checkpoint of it is kept."""
    try:
        yield
    except TrainingAlarmError:
        if first:
            folder.publish_observations()
        raise


def _loader(spec: RunSpec, store: str, method: Method, num_samples: int | None) -> TrajectoryLoader:
    return TrajectoryLoader(
        store,
        timesteps=method.store.timesteps,
        batch_size=spec.batch_size,
        seed=spec.seed,
        window=spec.window,
        cache=spec.cache,
        num_samples=num_samples,
    )


def export_student(
    state: TrainState,
    folder: Path,
    observations: Sequence[Observation] = (),
    decoder: KeptDecoder | None = None,
    embeddings: Path | None = None,
) -> None:
    """Saves the averaged student as config.json and safetensors; the folder appears whole or not at all.

    What was observed of its training lies beside them as `monitors.json`, for an evaluation to draw; the autoencoder of
    its latents is copied to `decoder/`, and the embeddings of its prompts to `prompts/`.

    Raises:
        OSError: the folder cannot be written; nothing of it is kept.
    """
    averaged = type(state.student).from_config(state.student.config)
    averaged.load_state_dict({name: value.cpu() for name, value in state.ema.state_dict().items()})
    with whole_folder(folder, "a student") as partial:
        averaged.save_pretrained(partial, safe_serialization=True)
        if observations:
            (partial / OBSERVATIONS).write_text(observations_to_json(observations), encoding="utf-8")
        if decoder is not None:
            decoder.fetch(partial / DECODER)
        if embeddings is not None:
            copy_embeddings(embeddings, partial / PROMPTS_FOLDER)


def _steps(
    spec: RunSpec, method: Method, batches: Iterator[Batch], last: int, observer: Observer, conditions: Conditions
) -> Iterator[StepMetrics | None]:
    state, device = method.state, torch_device(spec.device)
    rows = method.processes.share(spec.batch_size)
    seed = method.store.base_seed
    data_seconds = step_seconds = 0.0
    steps_since_report = 0
    while state.samples < last:
        began = time.perf_counter()
        stored = next(batches)
        batch = to_torch(stored, method.store.timesteps, device, rows).conditioned(
            conditions, seed, stored.indices[rows]
        )
        batch = mirrored(batch, spec, state.samples, rows)
        loaded = time.perf_counter()
        phase, rate = method.phase(), method.learning_rate()
        with memory_hint(spec, rows.stop - rows.start):
            losses = method.step(batch)
        state.samples += spec.batch_size
        # At first the half-life is short, because there is little to average (EDM, section F).
        state.ema.update(state.student, spec.batch_size, min(spec.ema_halflife, 0.1 * state.samples))
        data_seconds += loaded - began
        step_seconds += time.perf_counter() - began
        steps_since_report += 1
        observer.look(batch)
        # Numbers are copied from the device only when they are reported.
        if (state.samples // spec.batch_size) % spec.report_every and state.samples < last:
            yield None
            continue
        values = losses.values(method.processes)
        yield StepMetrics(
            samples=state.samples,
            total=last,
            phase=phase,
            distillation=values["distillation"],
            adversarial=values["adversarial"],
            discriminator=values["discriminator"],
            margin=values["real_logit"] - values["fake_logit"],
            adversarial_scale=values["adversarial_scale"],
            learning_rate=rate,
            data_seconds=data_seconds / steps_since_report,
            step_seconds=step_seconds / steps_since_report,
        )
        data_seconds = step_seconds = 0.0
        steps_since_report = 0
