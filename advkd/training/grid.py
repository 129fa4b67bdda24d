"""Checks that a store fits a run, and chooses the timesteps that the run trains on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from storage import TrajectorySpec


def refuse_conditions(store: TrajectorySpec, taken: Sequence[str] = ()) -> None:
    """Refuses conditions that a method's student does not take.

    Args:
        store: the store's facts.
        taken: kinds of conditions that the student takes besides noise.

    Raises:
        ValueError: the store's samples are conditioned on something else.
    """
    if store.conditioning is not None and store.conditioning.get("kind") not in taken:
        raise ValueError(
            f"this method's student takes noise alone{''.join(f', or with {kind}' for kind in taken)}, got a store "
            f"conditioned on {store.conditioning.get('kind')!r}; train by a method whose student takes that condition"
        )


def training_grid(store: TrajectorySpec, timesteps: tuple[int, ...] | None) -> TrajectorySpec:
    """Returns the store's facts for the chosen timesteps, plus the noise and the clean state.

    Without a timestep in between, the student has one submodule, from noise to image.

    Raises:
        ValueError: the store does not hold a timestep, or the timesteps are not in order.
    """
    if timesteps is None:
        return store
    ends = (store.timesteps[0], store.timesteps[-1])
    inner = [t for t in timesteps if t not in ends]
    missing = [t for t in inner if t not in store.timesteps]
    if missing:
        raise ValueError(
            f"a run's timesteps must be in its store, got {missing} where it holds {store.timesteps}; choose among "
            "these, or precompute a store with the others"
        )
    if any(later >= earlier for earlier, later in pairwise(timesteps)):
        raise ValueError(
            f"a run's timesteps must be strictly decreasing, got {timesteps}; sort them from noise to clean"
        )
    chosen = (ends[0], *inner, ends[1])
    places = [store.timesteps.index(t) for t in chosen]
    return replace(
        store,
        timesteps=chosen,
        signal=tuple(store.signal[place] for place in places),
        sigma=tuple(store.sigma[place] for place in places),
        resolutions=None if store.resolutions is None else tuple(store.resolutions[place] for place in places),
        uint8_ranges=None if store.uint8_ranges is None else tuple(store.uint8_ranges[place] for place in places),
    )
