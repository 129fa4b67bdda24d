"""Over a stated subset: histograms of the values of every timestep, and a student's error at every one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.display import latent
from advkd.browse.sorting import Subset, readable, subset
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent

BINS = 48
MOST_SAMPLES = 512
MOST_OF_A_CURVE = 128
"""As many as a wall shows at once: every gallery asks for a curve."""
_SEED = 0
_CLIPPED = 1.001
"""Magnitude from which on a value is beyond [-1, 1], rounding aside."""


def histograms(view: StoreSnapshot) -> dict[str, Any]:
    """Returns, as plain JSON, the range of the bins and the counts for each timestep.

    `beyond` is the share of the clean values that pictures clip.

    Reads the subset twice, for the ranges and for the counts, and holds only a portion of it at once.
    """
    spec = view.spec
    if view.num_samples == 0:
        return {"what": "no samples yet", "timesteps": {}, "beyond": 0.0}
    chosen = subset(view, _SEED, MOST_SAMPLES, spec.timesteps)
    ends: dict[int, tuple[float, float]] = {}
    for t, values in _values(view, chosen):
        low, high = ends.get(t, (np.inf, -np.inf))
        ends[t] = min(low, float(values.min())), max(high, float(values.max()))
    counts = {t: np.zeros(BINS, dtype=np.int64) for t in ends}
    beyond = total = 0
    for t, values in _values(view, chosen):
        if t == spec.timesteps[-1] and not latent(spec):
            beyond, total = beyond + int((np.abs(values) > _CLIPPED).sum()), total + values.size
        # A shard that was repaired between both readings has timesteps without a range.
        if t in ends:
            counts[t] += np.histogram(values.astype(np.float64), BINS, ends[t])[0]
    bins = {str(t): {"low": low, "high": high, "counts": counts[t].tolist()} for t, (low, high) in ends.items()}
    return {"what": chosen.what, "timesteps": bins, "beyond": beyond / total if total else 0.0}


def _values(view: StoreSnapshot, chosen: Subset) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    for _, states in readable(view, chosen.samples, view.spec.timesteps):
        for t, state in states.items():
            yield t, state.astype(np.float32)


def error_curve(view: StoreSnapshot, student: ShownStudent, seed: int) -> dict[str, Any]:
    """Returns, as plain JSON, `[t, root mean square error]` of every submodule, and the subset in words."""
    shared = student.shared_timesteps(view.spec)
    wanted = [view.spec.timesteps[0], *shared]
    chosen = subset(view, seed, MOST_OF_A_CURVE, wanted)
    parts = [student.errors(view.spec, *read) for read in readable(view, chosen.samples, wanted)]
    rms = {t: np.sqrt(np.mean(np.concatenate([part[t] for part in parts]) ** 2)) for t in shared if parts}
    return {"what": chosen.what, "errors": [[t, float(error)] for t, error in rms.items()]}
