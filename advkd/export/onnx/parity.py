"""Whether an exported network computes what the student computes, on the same noises."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from advkd.export.onnx.graph import IMAGES, ImageNetwork, Subject, outputs_of
from advkd.export.requests import ParityError

Array = npt.NDArray[Any]
Run = Callable[[Mapping[str, Tensor]], tuple[Array, ...]]
"""From inputs by name to the network's outputs in their order."""

SEED = 0
LARGEST: Mapping[str, float] = {"fp32": 1e-4, "fp16": 5e-2}
"""The largest difference of an image's value in [0, 1]; of a state, per unit of its largest value."""
INT8_RMSE = 0.012
"""The largest root mean square difference of images in [0, 1] where no teacher is there to compare with.

Of a student of digits 0.0084 adds 0.28 to a Frechet distance of 6.4, which grows about as the square of it.
"""
_ROWS, _VALUES_AT_ONCE = 64, 2**22


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What torch computes of some noises.

    Attributes:
        parts: inputs by name and outputs in their order, batch by batch; batches have several sizes, 1 among them.
        noises: number of noises.
    """

    parts: tuple[tuple[Mapping[str, Tensor], tuple[Tensor, ...]], ...]
    noises: int


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an exported network is from torch in float32.

    Attributes:
        noises: number of noises, (seed 0, i) of i from 0.
        largest: largest difference of an image's value, in [0, 1].
        rmse: root mean square difference of images.
        largest_of_states: largest difference of a state, per unit of the largest value; None without states.
        allowed: bound of the largest difference; None where another figure decides.
    """

    noises: int
    largest: float
    rmse: float
    largest_of_states: float | None
    allowed: float | None


def expected_of(subject: Subject, network: ImageNetwork, noises: int) -> Expected:
    """Computes what an export is compared with.

    Raises:
        ParityError: the student's own images are not finite.
    """
    rows = max(1, min(_ROWS, _VALUES_AT_ONCE // math.prod(subject.space.image_shape)))
    parts = []
    for first, count in _batches(noises, rows):
        inputs = subject.inputs(SEED, first, count)
        outputs = outputs_of(network, inputs)
        if not all(bool(torch.isfinite(values).all()) for values in outputs):
            raise ParityError(
                "a student must be finite to be exported, got NaN or infinity; its training diverged: export an "
                "earlier checkpoint or train again"
            )
        parts.append((inputs, outputs))
    return Expected(parts=tuple(parts), noises=noises)


def session_run(model: bytes, threads: int = 1) -> Run:
    """Opens a model in ONNX Runtime on the CPU."""
    # It starts a thread when it is imported.
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = threads, 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> tuple[Array, ...]:
        return tuple(session.run(None, {name: values.numpy() for name, values in inputs.items()}))

    return run


def measure_parity(run: Run, expected: Expected, precision: str) -> Parity:
    """Compares an exported network with torch.

    Raises:
        ParityError: it gives NaN or infinity, or images outside of [0, 1].
    """
    largest, squares, values, of_states = 0.0, 0.0, 0, 0.0
    for inputs, outputs in expected.parts:
        computed = run(inputs)
        if (
            not all(np.isfinite(array).all() for array in computed)
            or not ((computed[0] >= 0) & (computed[0] <= 1)).all()
        ):
            raise ParityError(
                f"an export must give finite {IMAGES} in [0, 1], got others in {precision}; choose another precision"
            )
        differences = np.abs(computed[0] - outputs[0].numpy())
        largest, values = max(largest, float(differences.max())), values + differences.size
        squares += float(np.square(differences, dtype=np.float64).sum())
        for mine, theirs in zip(computed[1:], outputs[1:], strict=True):
            state = theirs.numpy()
            of_states = max(of_states, float(np.abs(mine - state).max()) / max(1.0, float(np.abs(state).max())))
    return Parity(
        noises=expected.noises,
        largest=largest,
        rmse=math.sqrt(squares / values),
        largest_of_states=of_states if len(expected.parts[0][1]) > 1 else None,
        allowed=LARGEST.get(precision),
    )


def check_parity(parity: Parity, precision: str) -> None:
    """Refuses a network that is too far from torch.

    Raises:
        ParityError: its largest difference is over the bound of its precision.
    """
    worst = max(parity.largest, parity.largest_of_states or 0.0)
    if parity.allowed is not None and worst > parity.allowed:
        raise ParityError(
            f"an export in {precision} must be within {parity.allowed:g} of torch on {parity.noises} noises, got a "
            f"largest difference of {worst:.2g}, so it is not written; choose another precision, or report the "
            "student's network"
        )


def _batches(noises: int, rows: int) -> Iterator[tuple[int, int]]:
    """First row and size of each batch: one of a single row, one of three, then as many rows as fit."""
    first = 0
    for size in (1, 3):
        count = min(size, rows, noises - first)
        if count:
            yield first, count
        first += count
    for start in range(first, noises, rows):
        yield start, min(rows, noises - start)
