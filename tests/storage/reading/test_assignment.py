"""Which sample comes when, for any number of samples, shards, ranks and windows."""

from itertools import chain

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.reading.assignment import batches_per_epoch, epoch_windows, part_bounds, window_order
from storage.records.seeding import initial_noise

COUNTS = st.integers(1, 300)


def order_of(num_samples: int, shard_samples: int, **arguments: int) -> list[int]:
    """The samples of one rank in one epoch, in order."""
    order: list[int] = []
    for number, pieces in enumerate(epoch_windows(num_samples, shard_samples, **arguments)):
        rows = np.concatenate([piece.shard * shard_samples + np.arange(piece.start, piece.stop) for piece in pieces])
        keys = {name: arguments[name] for name in ("seed", "epoch", "rank")}
        order += rows[window_order(len(rows), window_index=number, **keys)].tolist()
    return order


@settings(deadline=None)
@given(COUNTS, st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.integers(0, 3), st.integers(0, 2**63 - 1))
def test_every_sample_once_and_ranks_disjoint(
    num_samples: int, shard_samples: int, world_size: int, window: int, epoch: int, seed: int
) -> None:
    orders = [
        order_of(num_samples, shard_samples, seed=seed, epoch=epoch, rank=rank, world_size=world_size, window=window)
        for rank in range(world_size)
    ]
    assert sorted(chain.from_iterable(orders)) == list(range(num_samples))
    assert max(map(len, orders)) - min(map(len, orders)) <= 1
    assert [len(order) for order in orders] == [
        stop - start for start, stop in (part_bounds(num_samples, rank, world_size) for rank in range(world_size))
    ]


@given(COUNTS, st.integers(1, 40), st.integers(1, 7))
def test_all_ranks_get_the_same_number_of_whole_batches(num_samples: int, batch_size: int, world_size: int) -> None:
    whole = {batches_per_epoch(num_samples, batch_size, r, world_size, drop_last=True) for r in range(world_size)}
    assert len(whole) == 1
    for rank in range(world_size):
        start, stop = part_bounds(num_samples, rank, world_size)
        assert next(iter(whole)) * batch_size <= stop - start
        every = batches_per_epoch(num_samples, batch_size, rank, world_size, drop_last=False)
        assert (every - 1) * batch_size < stop - start <= every * batch_size or stop == start


def test_every_epoch_and_seed_has_its_own_order() -> None:
    orders = {
        (seed, epoch): tuple(order_of(64, 8, seed=seed, epoch=epoch, rank=0, world_size=1, window=2))
        for seed in (0, 1)
        for epoch in range(3)
    }
    assert len(set(orders.values())) == len(orders)
    again = tuple(order_of(64, 8, seed=1, epoch=2, rank=0, world_size=1, window=2))
    assert orders[1, 2] == again


def test_a_rank_reads_only_about_its_share_of_the_shards() -> None:
    windows = list(epoch_windows(400, 10, seed=0, epoch=0, rank=1, world_size=4, window=3))
    assert len({piece.shard for pieces in windows for piece in pieces}) <= 11
    assert all(len(pieces) <= 3 for pieces in windows)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 50), st.integers(1, 20), st.integers(0, 2**63 - 1))
def test_noise_of_a_sample_does_not_depend_on_its_batch(start: int, count: int, seed: int) -> None:
    together = initial_noise(seed, start, start + count, (2, 3, 3))
    alone = np.concatenate([initial_noise(seed, i, i + 1, (2, 3, 3)) for i in range(start, start + count)])
    np.testing.assert_array_equal(together, alone)


def test_planning_an_epoch_of_a_huge_store_loses_nothing() -> None:
    windows = list(epoch_windows(51_200_000, 512, seed=0, epoch=0, rank=0, world_size=1, window=4))
    assert len(windows) == 25_000
    assert sum(len(piece) for pieces in windows for piece in pieces) == 51_200_000
