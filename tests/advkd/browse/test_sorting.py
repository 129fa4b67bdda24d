"""Which samples are sorted, and that every answer says so: laws of subsets, at any size."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from advkd.browse.sorting import MOST_SAMPLES, chunks, subset
from tests.advkd.browse.specs import image_spec


def view(num_samples: int, **changes: Any) -> Any:
    """As much of a view as choosing samples needs."""
    spec = image_spec(**changes)
    return SimpleNamespace(spec=spec, num_samples=num_samples, committed=None)


@given(st.integers(1, 10**12), st.integers(0, 2**40), st.integers(1, 5000))
def test_a_subset_is_distinct_samples_of_whole_blocks_within_its_bound(count: int, seed: int, most: int) -> None:
    found = subset(view(count), seed, most, [0])
    samples = found.samples
    assert 0 <= samples.min() <= samples.max() < count
    assert len(np.unique(samples)) == len(samples) <= max(4, most)
    assert found.whole == (len(samples) == count)
    if not found.whole:
        blocks = np.unique(samples // 4)
        assert len(samples) == sum(min(4, count - 4 * block) for block in blocks.tolist())
        assert len(blocks) == max(1, most // 4)
        assert f"of {count:,} samples" in found.what
        assert f"seed {seed}" in found.what
    np.testing.assert_array_equal(samples, subset(view(count), seed, most, [0]).samples)


def test_a_hundred_million_are_drawn_from_evenly() -> None:
    samples = subset(view(10**8), 0, MOST_SAMPLES, [0]).samples
    counts, _ = np.histogram(samples // 4, bins=8, range=(0, 10**8 // 4))
    assert counts.min() > 0.7 * counts.mean()


def test_large_states_are_fewer_at_once() -> None:
    found = subset(view(10**6, sample_shape=(3, 512, 512)), 0, MOST_SAMPLES, [0])
    assert len(found.samples) * 3 * 512 * 512 * 2 <= 2**26
    huge = view(10**6, sample_shape=(3, 512, 512), shard_samples=2**20, block_samples=2**20)
    found = subset(huge, 0, MOST_SAMPLES, [0])
    assert len(found.samples) * 3 * 512 * 512 * 2 <= 2**26
    assert not found.whole
    assert {len(portion) for portion in chunks(huge, found.samples, [0])} <= {5, len(found.samples) % 5}
