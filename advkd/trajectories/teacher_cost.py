"""What a teacher itself costs a plan, measured on this machine: memory of its passes, bytes and time of its decoder."""

import time
from dataclasses import dataclass

import torch

from advkd.networks import autoencoder_bytes
from advkd.teachers import MicroBatch, SolverSpec, Teacher, micro_batch
from storage import TrajectorySpec


@dataclass(frozen=True, kw_only=True)
class DecoderCost:
    """The autoencoder of a store's latents.

    Attributes:
        kind: its class.
        bytes: of its files, which a root of stores keeps once, and every student again.
        seconds: to decode one image, with the threads of this process.
    """

    kind: str
    bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TeacherCost:
    """The measured part of a plan.

    Attributes:
        micro_batch: samples that go through the network at once, and their memory.
        decoder: of latents; None for pixels.
    """

    micro_batch: MicroBatch
    decoder: DecoderCost | None


def measure_teacher(teacher: Teacher, store: TrajectorySpec, asked: int | None = None) -> TeacherCost:
    """Measures a teacher by one pass of one sample, one of two, and one decoded image; see `micro_batch`.

    Raises:
        ValueError: the micro-batch asked for does not divide a block.
        TeacherError: a pass of one sample needs more memory than there is.
    """
    solver = SolverSpec(kind=store.sampler, steps=store.solver_steps)
    return TeacherCost(
        micro_batch=micro_batch(teacher, solver, store.block_samples, asked), decoder=_decoder_cost(teacher)
    )


def _decoder_cost(teacher: Teacher) -> DecoderCost | None:
    folder = getattr(teacher.space, "folder", None)
    if folder is None:
        return None
    began = time.perf_counter()
    teacher.space.decode(torch.zeros(1, *teacher.space.shape))
    seconds = time.perf_counter() - began
    return DecoderCost(kind=str(teacher.space.facts["class"]), bytes=autoencoder_bytes(folder), seconds=seconds)
