"""Encodes and decodes the states of one timestep: dtype, resolution, and the error that storing adds.

`float16` and `float32` round values to the dtype. `uint8` divides a declared range into 255 equal steps; a value
outside of it is refused, not clipped. A smaller resolution holds box means (a pyramid). Must not import torch.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.errors import NonFiniteError, ValueRangeError

_STEPS = 255
_HALF_ROUNDING = {"float16": 2.0**-11, "float32": 2.0**-24}
_SMALLEST_STEP = {"float16": 2.0**-25, "float32": 2.0**-150}


@dataclass(frozen=True, kw_only=True)
class StateEncoding:
    """The storage format of the states of one timestep; `TrajectorySpec.encoding(t)` returns it."""

    full_shape: tuple[int, int, int]
    """`[C, H, W]` of the teacher's states."""
    shape: tuple[int, int, int]
    """`[C, H_k, W_k]` as stored; H_k and W_k divide H and W."""
    dtype: str
    """Dtype of the states that readers return: "float16" or "float32"."""
    uint8_range: tuple[float, float] | None = None
    """Range of the values if they are stored as uint8 codes; None: they are stored in `dtype`."""

    @property
    def stored_dtype(self) -> str:
        """Dtype of the stored numbers."""
        return self.dtype if self.uint8_range is None else "uint8"

    @property
    def state_bytes(self) -> int:
        """Bytes of one stored state."""
        return math.prod(self.shape) * np.dtype(self.stored_dtype).itemsize

    def reduced(self, states: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns states `[B, C, H, W]` at the stored resolution: box means `[B, C, H_k, W_k]` in float64.

        In full resolution, returns the states themselves. The mean is not finite if a value is not finite.
        """
        if self.shape == self.full_shape:
            return states
        with np.errstate(over="ignore", invalid="ignore"):
            means: npt.NDArray[Any] = self.boxes(states).mean(axis=(3, 5), dtype=np.float64)
        return means

    def boxes(self, states: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Reshapes states `[B, C, H, W]` to boxes `[B, C, H_k, H / H_k, W_k, W / W_k]`, one per value of `reduced`."""
        channels, height, width = self.shape
        boxes: npt.NDArray[Any] = states.reshape(
            len(states), channels, height, self.full_shape[1] // height, width, self.full_shape[2] // width
        )
        return boxes

    def encode(self, reduced: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Encodes states at the stored resolution, `[B, C, H_k, W_k]`, in the stored dtype.

        Raises:
            NonFiniteError: NaN, infinity, or overflow of the stored dtype.
            ValueRangeError: a value outside of the declared range of uint8, with its ends rounded to float32.
        """
        if self.uint8_range is not None:
            return self._codes(reduced, *self.uint8_range)
        with np.errstate(over="ignore", invalid="ignore"):
            stored = np.ascontiguousarray(reduced, dtype=self.dtype)
        if not np.isfinite(stored).all():
            raise NonFiniteError(_found_in(reduced, self.dtype))
        return stored

    def decode(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the states in `dtype`; the stored array itself if it has that dtype."""
        if self.uint8_range is None:
            return stored
        states: npt.NDArray[Any] = self._levels()[stored]
        return states

    def error_bound(self, largest: float) -> float:
        """Returns the largest rounding error of a value, for values up to `largest` in magnitude.

        Floats: half a unit in the last place (IEEE 754). uint8: half a step, plus the rounding of the step's value and
        that of the float32 arithmetic that chooses the step.
        """
        if self.uint8_range is None:
            return max(largest * _HALF_ROUNDING[self.dtype], _SMALLEST_STEP[self.dtype])
        low, high = self.uint8_range
        magnitude = max(abs(low), abs(high))
        rounding = max(magnitude * _HALF_ROUNDING[self.dtype], _SMALLEST_STEP[self.dtype])
        return 0.5 * (high - low) / _STEPS + rounding + 8 * magnitude * _HALF_ROUNDING["float32"]

    def _codes(self, reduced: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[Any]:
        smallest, largest = float(reduced.min()), float(reduced.max())
        if not (math.isfinite(smallest) and math.isfinite(largest)):
            raise NonFiniteError(_found_in(reduced, reduced.dtype.name))
        # A teacher that clips to the declared range does this in float32.
        if smallest < min(low, float(np.float32(low))) or largest > max(high, float(np.float32(high))):
            outside = ((reduced < low) | (reduced > high)).reshape(len(reduced), -1).any(axis=1)
            raise ValueRangeError(
                f"got values in [{smallest:.9g}, {largest:.9g}] for the declared uint8 range [{low:g}, {high:g}], the "
                f"first in row {int(np.argmax(outside))}; declare a range that holds them, or store floats"
            )
        scaled = np.rint((reduced - np.float32(low)) * np.float32(_STEPS / (high - low)))
        # Rounding may exceed the last code if the range is narrow and far from zero.
        codes: npt.NDArray[Any] = np.clip(scaled, 0, _STEPS).astype(np.uint8)
        return codes

    def _levels(self) -> npt.NDArray[Any]:
        """Returns the value of each code, by the rule of `scale_factor` and `add_offset`, known to other tools."""
        assert self.uint8_range is not None
        low, high = self.uint8_range
        return (np.arange(_STEPS + 1) * ((high - low) / _STEPS) + low).astype(self.dtype)


@dataclass
class StateTally:
    """Sums over the states of one timestep, block by block, for the statistics in the records.

    All sums are in float64. They cover the values that readers get, the rounding error at the stored resolution, and
    the detail that means over boxes lose.
    """

    encoding: StateEncoding
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf
    largest_error: float = 0.0
    error_squares: float = 0.0
    detail_squares: float = 0.0

    def add(self, states: npt.NDArray[Any], reduced: npt.NDArray[Any], stored: npt.NDArray[Any]) -> None:
        """Adds a block: the original states, the states at the stored resolution, and the stored array."""
        values = self.encoding.decode(stored).astype(np.float64)
        self.count += values.size
        self.total += float(values.sum())
        self.squares += _square_sum(values)
        self.smallest = min(self.smallest, float(values.min()))
        self.largest = max(self.largest, float(values.max()))
        if reduced.dtype != stored.dtype:
            values -= reduced
            self.largest_error = max(self.largest_error, float(values.max()), -float(values.min()))
            self.error_squares += _square_sum(values)
        if reduced is not states:
            lost = self.encoding.boxes(states) - reduced[:, :, :, None, :, None]
            self.detail_squares += _square_sum(lost) * reduced.size / states.size


def _square_sum(values: npt.NDArray[Any]) -> float:
    # One thread and one order of adding, so that records do not depend on the machine's cores.
    flat = values.reshape(-1)
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64, casting="same_kind"))


def _found_in(states: npt.NDArray[Any], dtype: str) -> str:
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(states.astype(dtype)).reshape(len(states), -1).all(axis=1)
    row = int(np.argmin(finite))
    if np.isfinite(states[row]).all():
        return f"got overflow of {dtype} first in row {row}; store float32, or check the teacher's weights"
    return f"got NaN or infinity first in row {row}; check the teacher's weights and precision, or its scheduler"
