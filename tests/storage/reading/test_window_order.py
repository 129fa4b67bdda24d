"""No two windows are shuffled alike, of whatever rank and epoch."""

import numpy as np

from storage.reading.assignment import window_order


def test_every_window_rank_epoch_and_seed_has_an_order_of_its_own() -> None:
    places = [
        {"seed": seed, "epoch": epoch, "rank": rank, "window_index": window}
        for seed in (0, 1)
        for epoch in (0, 1, 2)
        for rank in (0, 1, 2)
        for window in (0, 1, 2)
    ]
    orders = [window_order(64, **place) for place in places]
    assert all(sorted(order.tolist()) == list(range(64)) for order in orders)
    assert len({order.tobytes() for order in orders}) == len(places)
    np.testing.assert_array_equal(window_order(64, **places[-1]), orders[-1])
