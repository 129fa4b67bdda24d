"""The keys of the generators, one per sample and stream; docs/store.md gives the noise's to other people's tools."""

import numpy as np
import pytest

from storage.records.seeding import initial_noise, solver_seeds

MANY = 50


def generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=list(key)))


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_even_keys_draw_the_noise_and_odd_ones_the_solver_s_seeds(seed: int) -> None:
    noise, seeds = initial_noise(seed, 0, MANY, (1, 4, 4)), solver_seeds(seed, 0, MANY)
    for i in range(MANY):
        expected = generator(seed, 2 * i).standard_normal((1, 4, 4), dtype=np.float32)
        np.testing.assert_array_equal(noise[i], expected)
        assert seeds[i] == int(generator(seed, 2 * i + 1).integers(2**63))


def test_no_sample_s_solver_draws_from_any_sample_s_noise() -> None:
    """The bits behind the noise of every sample, read as a solver's seed would be, are no solver's seed."""
    noise_keys: dict[bytes, int] = {}
    for i, noise in enumerate(initial_noise(3, 0, MANY, (4,))):
        noise_keys[noise.tobytes()] = i
    candidates = range(4 * MANY)
    drawn = {k: generator(3, k).standard_normal((4,), dtype=np.float32).tobytes() for k in candidates}
    of_noise = {k for k in candidates if drawn[k] in noise_keys}
    assert len(of_noise) == MANY
    seeds = set(solver_seeds(3, 0, MANY))
    of_solvers = {k for k in candidates if int(generator(3, k).integers(2**63)) in seeds}
    assert len(of_solvers) == MANY
    assert not of_noise & of_solvers
