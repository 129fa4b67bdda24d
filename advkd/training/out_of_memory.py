"""Reports which setting makes a step fit in memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from advkd.training.run_spec import RunSpec

# CUDA's allocator has its own error class; the CPU's raises a RuntimeError whose text differs between platforms.
_WORDS = re.compile(r"can't allocate memory|not enough memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)


class StepMemoryError(OSError):
    """A step needs more memory than there is."""


@contextmanager
def memory_hint(spec: RunSpec, rows: int) -> Iterator[None]:
    """Turns a failed allocation into an error that names `batch_size` and `accumulate`.

    Args:
        spec: settings of the run.
        rows: rows of a batch in this process.

    Raises:
        StepMemoryError: an allocation failed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        kind = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not kind and not _WORDS.search(str(error)):
            raise
        raise StepMemoryError(
            f"a training step must fit in memory, got {_first_line(error)!r} with batch_size {spec.batch_size} and "
            f"accumulate {spec.accumulate} ({rows // spec.accumulate} samples at a time in each process); "
            f"{_remedy(spec, rows)}; a run that has a checkpoint needs another output folder for that"
        ) from error


def next_accumulate(rows: int, accumulate: int) -> int | None:
    """Returns the next larger number of equal parts of `rows`; None if a part is one row already."""
    return next((parts for parts in range(accumulate + 1, rows + 1) if rows % parts == 0), None)


def _remedy(spec: RunSpec, rows: int) -> str:
    parts = next_accumulate(rows, spec.accumulate)
    if parts is None:
        return "lower the student's width: a part of a batch is one sample already"
    return f"set accumulate to {parts}, which computes the same batch in parts of {rows // parts}, or lower batch_size"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
