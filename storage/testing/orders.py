"""Draws settings of a loader: those that decide the order, and those that only decide the speed."""

from typing import Any

from hypothesis import strategies as st


@st.composite
def orders(draw: st.DrawFn, num_samples: int, timesteps: tuple[int, ...]) -> dict[str, Any]:
    """Draws settings of the order: any rank of any number of ranks, on any part of a store."""
    shown = draw(st.integers(num_samples // 2, num_samples))
    world_size = draw(st.integers(1, 4))
    return {
        "world_size": world_size,
        "rank": draw(st.integers(0, world_size - 1)),
        "num_samples": shown,
        "batch_size": draw(st.integers(1, shown // world_size)),
        "window": draw(st.integers(1, 5)),
        "drop_last": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "timesteps": draw(st.lists(st.sampled_from(timesteps), min_size=1, unique=True)),
    }


def speeds() -> st.SearchStrategy[dict[str, Any]]:
    """Returns a strategy of settings of the speed: windows, threads and cache."""
    caches = st.sampled_from(["none", "memory"])
    return st.fixed_dictionaries({"prefetch": st.integers(0, 3), "threads": st.integers(1, 4), "cache": caches})
