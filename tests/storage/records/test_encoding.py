"""How one state is stored: there and back within the bound that the encoding states, or refused with the place."""

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from storage import NonFiniteError, StateStatistics, ValueRangeError
from storage.records.encoding import StateEncoding, StateTally

LARGEST = {"float16": 65504.0, "float32": float(np.finfo(np.float32).max)}
DTYPES = st.sampled_from(["float16", "float32"])
Array = npt.NDArray[Any]


def encoding(full: tuple[int, int, int] = (2, 3, 3), dtype: str = "float16", **changes: Any) -> StateEncoding:
    return StateEncoding(**({"full_shape": full, "shape": full, "dtype": dtype} | changes))


def states(low: float, high: float, dtype: type = np.float32) -> st.SearchStrategy[Array]:
    """A block of 1 to 4 states `[2, 3, 3]` with values of any magnitude in a range."""
    width = 32 if dtype is np.float32 else 64
    ends = (float(np.float32(low)), float(np.float32(high))) if width == 32 else (low, high)
    elements = st.floats(*ends, width=width)
    return st.integers(1, 4).flatmap(lambda count: nps.arrays(dtype, (count, 2, 3, 3), elements=elements))


@st.composite
def declared_ranges(draw: st.DrawFn) -> tuple[float, float]:
    """Any range that somebody may declare, narrow ones far from zero included."""
    low = draw(st.floats(-3e4, 3e4) | st.floats(-2.0, 2.0) | st.just(0.0))
    width = draw(st.floats(1e-9, 3e4) | st.floats(0.5, 4.0))
    assume(low + width > low)
    return low, low + width


@pytest.mark.thorough
@settings(deadline=None, max_examples=300)
@given(dtype=DTYPES, wide=st.booleans(), data=st.data())
def test_floats_come_back_within_the_bound(dtype: str, wide: bool, data: st.DataObject) -> None:
    """Any finite values, subnormal ones included; float32 in float32 without any error."""
    largest = LARGEST[dtype]
    given_states = data.draw(states(-largest, largest, np.float64 if wide else np.float32))
    one = encoding(dtype=dtype)
    stored = one.encode(one.reduced(given_states))
    assert (stored.dtype.name, stored.shape) == (dtype, given_states.shape)
    found = one.decode(stored)
    assert found.dtype.name == dtype
    error = np.abs(found.astype(np.float64) - given_states).max()
    assert error <= one.error_bound(float(np.abs(given_states).max()))
    if dtype == "float32" and not wide:
        np.testing.assert_array_equal(found, given_states)
    np.testing.assert_array_equal(one.encode(found), stored)


@pytest.mark.thorough
@settings(deadline=None, max_examples=250)
@given(dtype=DTYPES, ends=declared_ranges(), wide=st.booleans(), data=st.data())
def test_uint8_comes_back_within_the_bound(
    dtype: str, ends: tuple[float, float], wide: bool, data: st.DataObject
) -> None:
    low, high = ends
    given_states = data.draw(states(low, high, np.float64 if wide else np.float32))
    one = encoding(dtype=dtype, uint8_range=ends)
    codes = one.encode(one.reduced(given_states))
    assert codes.dtype == np.uint8
    found = one.decode(codes)
    assert found.dtype.name == dtype
    error = np.abs(found.astype(np.float64) - given_states).max()
    assert error <= one.error_bound(float(np.abs(given_states).max()))


@settings(deadline=None, max_examples=60)
@given(low=st.floats(500.0, 2000.0), steps=st.integers(1, 40))
def test_a_narrow_range_far_from_zero_does_not_wrap_around(low: float, steps: int) -> None:
    """A few units in the last place wide: the float32 arithmetic of codes leads beyond the last one."""
    first = np.float32(low)
    inside = first + np.arange(steps + 1, dtype=np.float32) * np.spacing(first)
    ends = (low, max(float(inside[-1]), low + 1e-6))
    one = encoding((1, 1, len(inside)), "float32", uint8_range=ends)
    found = one.decode(one.encode(inside.reshape(1, 1, 1, -1))).reshape(-1)
    assert np.abs(found.astype(np.float64) - inside).max() <= one.error_bound(ends[1])
    assert (np.diff(found) >= 0).all()


@settings(deadline=None, max_examples=200)
@given(dtype=DTYPES, ends=declared_ranges())
def test_uint8_levels_are_evenly_spaced_from_end_to_end_and_keep_their_codes(
    dtype: str, ends: tuple[float, float]
) -> None:
    """A state that was decoded is encoded to the same codes again, where the dtype can tell the levels apart."""
    one, codes = encoding(dtype=dtype, uint8_range=ends), np.arange(256, dtype=np.uint8)
    levels = one.decode(codes)
    exact = ends[0] + np.arange(256) * (ends[1] - ends[0]) / 255
    rounding = one.error_bound(0.0) - 0.5 * (ends[1] - ends[0]) / 255
    np.testing.assert_allclose(levels, exact, rtol=0, atol=rounding)
    assert (np.diff(levels.astype(np.float64)) >= 0).all()
    if rounding < 0.4 * (ends[1] - ends[0]) / 255:
        inside = levels.clip(*np.float32(ends)).astype(np.float32).reshape(1, 1, 16, 16)
        again = encoding((1, 16, 16), dtype, uint8_range=ends).encode(inside)
        np.testing.assert_array_equal(again.reshape(-1), codes)


@settings(deadline=None, max_examples=300)
@given(
    dtype=DTYPES,
    uint8=st.booleans(),
    factors=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    bad=st.sampled_from([math.nan, math.inf, -math.inf]),
    place=st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 5), st.integers(0, 5)),
    data=st.data(),
)
def test_what_is_not_finite_is_refused_with_its_row(
    dtype: str, uint8: bool, factors: tuple[int, int], bad: float, place: tuple[int, int, int, int], data: st.DataObject
) -> None:
    given_states = np.full((4, 2, 6, 6), 0.5, dtype=data.draw(st.sampled_from([np.float16, np.float32, np.float64])))
    given_states[place] = bad
    if data.draw(st.booleans()):
        # A box of both infinities has no mean, and one more bad row behind must not hide the first.
        given_states[3, 0, 0, :2] = (math.inf, -math.inf)
    shape = (2, 6 // factors[0], 6 // factors[1])
    one = encoding((2, 6, 6), dtype, shape=shape, uint8_range=(-1.0, 1.0) if uint8 else None)
    with pytest.raises(NonFiniteError, match=rf"NaN or infinity first in row {place[0]}; check the teacher"):
        one.encode(one.reduced(given_states))


@settings(deadline=None)
@given(row=st.integers(0, 3), value=st.floats(65520.0, 3e38), sign=st.sampled_from([1, -1]))
def test_what_overflows_is_refused_with_its_row(row: int, value: float, sign: int) -> None:
    given_states = np.zeros((4, 2, 3, 3), dtype=np.float64)
    given_states[row, 1, 2, 0] = sign * value
    with pytest.raises(NonFiniteError, match=rf"got overflow of float16 first in row {row}; store float32"):
        encoding().encode(given_states)
    np.testing.assert_array_equal(encoding(dtype="float32").encode(given_states), given_states.astype(np.float32))
    given_states[row, 1, 2, 0] = sign * 1e39
    with pytest.raises(NonFiniteError, match=f"got overflow of float32 first in row {row}"):
        encoding(dtype="float32").encode(given_states)
    edge = np.full((1, 2, 3, 3), 65519.0, dtype=np.float32)
    np.testing.assert_array_equal(encoding().encode(edge), np.float16(65504))


@settings(deadline=None, max_examples=200)
@given(ends=declared_ranges(), row=st.integers(0, 3), above=st.booleans(), far=st.floats(1e-6, 1e4))
def test_what_leaves_the_declared_range_is_refused_not_clipped(
    ends: tuple[float, float], row: int, above: bool, far: float
) -> None:
    low, high = ends
    given_states = np.full((4, 2, 3, 3), low / 2 + high / 2, dtype=np.float64)
    outside = high + far if above else low - far
    assume(outside > max(high, float(np.float32(high))) or outside < min(low, float(np.float32(low))))
    given_states[row:, 0, 1, 1] = outside
    with pytest.raises(
        ValueRangeError, match=rf"declared uint8 range .* first in row {row}; declare a range"
    ) as caught:
        encoding(uint8_range=ends).encode(given_states)
    shown = [float(number) for number in re.findall(r"-?\d[\d.]*(?:e[+-]\d+)?", str(caught.value))[:2]]
    assert shown[1 if above else 0] == pytest.approx(outside, rel=1e-8)


def test_what_a_teacher_clips_to_the_declared_range_in_float32_is_within_it() -> None:
    """float32 of 0.1 is greater than 0.1."""
    ends = (-0.1, 0.1)
    clipped = np.float32([-1.0, 1.0] * 9).clip(*np.float32(ends)).reshape(1, 2, 3, 3)
    one = encoding(uint8_range=ends, dtype="float32")
    np.testing.assert_array_equal(one.decode(one.encode(clipped)), clipped)


@settings(deadline=None, max_examples=150)
@given(
    dtype=DTYPES,
    sizes=st.tuples(st.sampled_from([1, 2, 3, 5]), st.sampled_from([1, 2, 4, 7])),
    boxes=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 2**32),
    scale=st.sampled_from([1e-3, 1.0, 300.0]),
)
def test_a_smaller_resolution_holds_the_means_of_boxes(
    dtype: str, sizes: tuple[int, int], boxes: tuple[int, int], seed: int, scale: float
) -> None:
    """Rounded once, from float64; oracle: each box by itself, added up exactly."""
    full = (2, sizes[0] * boxes[0], sizes[1] * boxes[1])
    given_states = (np.random.default_rng(seed).standard_normal((3, *full)) * scale + scale).astype(np.float32)
    one = encoding(full, dtype, shape=(2, *sizes))
    found = one.decode(one.encode(one.reduced(given_states)))
    assert found.shape == (3, 2, *sizes)
    for place in np.ndindex(found.shape):
        b, c, h, w = place
        box = given_states[b, c, h * boxes[0] : (h + 1) * boxes[0], w * boxes[1] : (w + 1) * boxes[1]]
        mean = math.fsum(box.reshape(-1).tolist()) / box.size
        assert abs(float(found[place]) - mean) <= one.error_bound(abs(mean)) * (1 + 1e-9) + 1e-15 * scale


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["float16", "float32", "uint8"]),
    size=st.sampled_from([(6, 6), (3, 6), (2, 3), (1, 1)]),
    cuts=st.sets(st.integers(1, 11), max_size=4),
    seed=st.integers(0, 2**32),
    offset=st.sampled_from([0.0, 50.0]),
)
def test_a_tally_says_what_numpy_says(
    kind: str, size: tuple[int, int], cuts: set[int], seed: int, offset: float
) -> None:
    """However the rows are cut into blocks; also where the detail is small beside the mean."""
    given_states = (np.random.default_rng(seed).standard_normal((12, 2, 6, 6)).clip(-3, 3) + offset).astype(np.float32)
    ends = (offset - 3.0, offset + 3.0) if kind == "uint8" else None
    one = encoding((2, 6, 6), "float16" if kind == "uint8" else kind, shape=(2, *size), uint8_range=ends)
    tally, decoded = StateTally(one), []
    for block in np.split(given_states, sorted(cuts)):
        reduced = one.reduced(block)
        stored = one.encode(reduced)
        tally.add(block, reduced, stored)
        decoded.append(one.decode(stored))
    assert_statistics(StateStatistics.of(tally), given_states, np.concatenate(decoded))


def assert_statistics(found: StateStatistics, given_states: Array, decoded: Array) -> None:
    """Of all values at once, each by its definition."""
    values, exact = decoded.astype(np.float64), given_states.astype(np.float64)
    boxes = [whole // part for whole, part in zip(exact.shape[2:], values.shape[2:], strict=True)]
    means = sum(exact[:, :, i :: boxes[0], j :: boxes[1]] for i, j in np.ndindex(*boxes)) / math.prod(boxes)
    error, detail = values - means, exact - np.kron(means, np.ones((1, 1, *boxes)))
    expected = {
        "mean": values.mean(),
        "std": values.std(),
        "min": values.min(),
        "max": values.max(),
        "max_error": np.abs(error).max(),
        "rms_error": np.sqrt((error**2).mean()),
        "rms_detail": np.sqrt((detail**2).mean()),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-7, abs=1e-13), name
    assert found.rms_error <= found.max_error
