"""How many samples go through a teacher's network at once: as many as a batch has, or fewer where memory is short.

One pass of one sample and one of two are measured, and a line is drawn through both. On the CPU the tensors alive are
counted, on CUDA the allocator's peak is read: both say the same whenever they are asked. The bound is a share of the
machine's whole memory, not of what is free: so one machine always comes to the same number, and the last bits of
states, which depend on it, are always the same there (laws 4 and 8 of `docs/store.md`).
"""

import json
import os
import threading
from dataclasses import dataclass

import torch

from advkd.device import LiveBytes, memory_capacity
from advkd.diffusion import start_of
from advkd.teachers.base import SolverSpec, Teacher
from advkd.teachers.errors import TeacherError
from advkd.teachers.rehearsal import rehearsing

_SHARE = 0.5
"""Of the machine's memory, for all workers together: the rest is for weights, shards, libraries and others."""
_MEASURING = threading.Lock()
_PEAKS: dict[tuple[str, str, str], tuple[int, int]] = {}


@dataclass(frozen=True)
class MicroBatch:
    """How many samples a teacher is given at once, and why.

    Attributes:
        samples: a divisor of the batch.
        batch: the batch, which is computed in so many equal parts.
        base_bytes: of a pass, whatever its samples; 0 if nothing was measured.
        sample_bytes: of a pass for each of its samples; 0 if nothing was measured.
        allowed_bytes: that a pass may need; 0 if nothing was measured.
    """

    samples: int
    batch: int
    base_bytes: int = 0
    sample_bytes: int = 0
    allowed_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of a pass of `samples`, without weights; 0 if nothing was measured."""
        return self.base_bytes + self.samples * self.sample_bytes


def micro_batch(
    teacher: Teacher, solver: SolverSpec, batch: int, asked: int | None = None, workers: int | None = None
) -> MicroBatch:
    """Returns how many samples of a batch the teacher takes at once.

    Args:
        teacher: measured by one pass of one sample and one of two.
        solver: its solver.
        batch: largest number of samples.
        asked: the number of samples; None: the largest divisor of `batch` whose pass fits.
        workers: passes that run at the same time on the device; None: one for each of the machine's cores.

    Raises:
        ValueError: the number asked for does not divide the batch.
        TeacherError: a pass of one sample needs more memory than there is, or what the teacher yields are no states.
    """
    if asked is not None:
        if asked < 1 or batch % asked:
            raise ValueError(
                f"a micro-batch must divide the block of {batch} samples, got {asked}; choose one of "
                f"{[n for n in range(1, batch + 1) if batch % n == 0]}"
            )
        return MicroBatch(asked, batch)
    device = getattr(teacher, "device", torch.device("cpu"))
    one, two = _measured(teacher, SolverSpec(kind=solver.kind, steps=1), device)
    each = max(two - one, 1)
    base, capacity = max(one - each, 0), memory_capacity(device)
    if one > capacity:
        raise TeacherError(
            f"a pass of one sample must fit in memory, got {one / 2**30:.1f} GiB for {teacher.name!r} where {device} "
            f"has {capacity / 2**30:.1f}; use a larger machine, or bfloat16 with --precision"
        )
    allowed = int(capacity * _SHARE) // (workers or os.cpu_count() or 1)
    fitting = (n for n in range(batch, 0, -1) if batch % n == 0 and base + n * each <= allowed)
    return MicroBatch(next(fitting, 1), batch, base, each, allowed)


def _measured(teacher: Teacher, one_step: SolverSpec, device: torch.device) -> tuple[int, int]:
    """Returns the peaks of one sample and of two, measured once per process, before any other pass on the device."""
    key = (teacher.fingerprint, json.dumps(teacher.solver_config(one_step), sort_keys=True), str(device))
    with _MEASURING:
        if key not in _PEAKS:
            tried = rehearsing(teacher)
            _PEAKS[key] = (_peak(tried, one_step, 1, device), _peak(tried, one_step, 2, device))
        return _PEAKS[key]


def _peak(teacher: Teacher, one_step: SolverSpec, samples: int, device: torch.device) -> int:
    """Returns the bytes of the tensors that are alive at once in a pass, without weights."""
    labels = teacher.grid(one_step).labels
    start = start_of(torch.zeros(samples, *teacher.space.shape), teacher.conditions, 0, range(samples))
    seeds = None if one_step.deterministic else range(samples)

    def passed() -> None:
        count = 0
        for state in teacher.states(start, one_step, labels, seeds):
            count += 1
            _require_states(teacher, state, start.noise.shape)
        if count != len(labels):
            raise TeacherError(
                f"a teacher must yield a state for each of the {len(labels)} labels, got {count} from "
                f"{teacher.name!r}; correct its states"
            )

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        passed()
        return torch.cuda.max_memory_allocated(device) - before
    counted = LiveBytes()
    with counted, torch.no_grad():
        passed()
    return counted.peak


def _require_states(teacher: Teacher, state: object, shape: torch.Size) -> None:
    if not isinstance(state, torch.Tensor) or state.shape != shape:
        what = list(state.shape) if isinstance(state, torch.Tensor) else type(state).__name__
        raise TeacherError(
            f"a teacher must yield states as its space has them, tensors {list(shape)}, got {what} from "
            f"{teacher.name!r}; correct its states, or its space"
        )
