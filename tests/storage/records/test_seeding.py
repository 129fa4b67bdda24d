"""Sample i is sample i, whatever else is asked for."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records.seeding import condition_generator, initial_noise, solver_seeds

SHAPE = (1, 4, 4)
SEEDS = st.integers(0, 2**63 - 1)


@given(seed=SEEDS, start=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 12), max_size=5))
def test_any_split_gives_the_same_noise_and_solver_seeds(seed: int, start: int, cuts: list[int]) -> None:
    stop = start + 12
    bounds = [start, *sorted(start + cut for cut in cuts), stop]
    pieces = [initial_noise(seed, a, b, SHAPE) for a, b in pairwise(bounds)]
    np.testing.assert_array_equal(np.concatenate(pieces), initial_noise(seed, start, stop, SHAPE))
    seeds = [s for a, b in pairwise(bounds) for s in solver_seeds(seed, a, b)]
    assert seeds == solver_seeds(seed, start, stop)


def test_noise_is_unit_normal() -> None:
    noise = initial_noise(7, 0, 4096, SHAPE)
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert abs((noise**4).mean() - 3) < 0.1


@given(one=SEEDS, other=SEEDS)
def test_other_base_seeds_give_other_noise(one: int, other: int) -> None:
    equal = np.array_equal(initial_noise(one, 0, 2, SHAPE), initial_noise(other, 0, 2, SHAPE))
    assert equal == (one == other)


def test_samples_are_uncorrelated_with_each_other_and_with_the_next_base_seed() -> None:
    a, b = initial_noise(0, 0, 256, (1, 8, 8)).reshape(256, -1), initial_noise(1, 0, 256, (1, 8, 8)).reshape(256, -1)
    for left, right in ((a, b), (a[:-1], a[1:])):
        assert abs((left * right).mean()) < 0.03


def test_solver_seeds_are_distinct_and_no_noise_stream_is_a_solver_stream() -> None:
    seeds = solver_seeds(0, 0, 2000)
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    # Independent of x_T: the seeds' low bit and the sign of the noise's first pixel agree half of the time.
    signs = initial_noise(0, 0, 2000, SHAPE)[:, 0, 0, 0] > 0
    assert abs(np.mean(signs == (np.array(seeds) % 2 == 1)) - 0.5) < 0.05


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_base_seeds_outside_63_bits_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"base seed must lie in \[0, 2\*\*63\), got {seed};"):
        initial_noise(seed, 0, 1, SHAPE)


def test_a_condition_depends_on_seed_and_index_alone_and_on_no_noise() -> None:
    drawn = [condition_generator(3, index).integers(2**62) for index in range(500)]
    assert len(set(drawn)) == 500
    assert [condition_generator(3, index).integers(2**62) for index in (499, 7)] == [drawn[499], drawn[7]]
    assert condition_generator(4, 7).integers(2**62) != drawn[7]
    # Neither stream of the same sample, nor one of a neighbour, gives the same numbers.
    noise = initial_noise(3, 0, 500, SHAPE)
    fresh = np.stack([condition_generator(3, i).standard_normal(SHAPE, dtype=np.float32) for i in range(500)])
    # Single values of float32 do meet by chance.
    assert np.isin(fresh, noise).mean() < 0.02
    assert abs((fresh * noise).mean()) < 0.05
    assert not set(drawn) & set(solver_seeds(3, 0, 500))
