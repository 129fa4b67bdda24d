"""How the values of every timestep are spread: counts in equal bins, over a subset of samples that is named."""

from typing import Any

import numpy as np

from advkd.browse.looking import LookedAt
from advkd.browse.orders import chunks, subset

BINS = 48
MOST_SAMPLES = 512
_SEED = 0


def histograms(store: LookedAt) -> dict[str, Any]:
    """Per timestep the ends of the bins and how many values lie in each, for pages."""
    view = store.view()
    spec = view.spec
    if view.num_samples == 0:
        return {"what": "no samples yet", "timesteps": {}}
    chosen = subset(view, _SEED, MOST_SAMPLES, spec.timesteps)
    parts: dict[int, list[Any]] = {t: [] for t in spec.timesteps}
    for portion in chunks(chosen.samples):
        looked = store.read(portion, spec.timesteps)
        good = np.array([sample not in looked.marks for sample in portion])
        for t in spec.timesteps:
            parts[t].append(looked.states[t][good].astype(np.float32).reshape(-1))
    found: dict[str, Any] = {}
    for t, arrays in parts.items():
        joined = np.concatenate(arrays)
        if joined.size:
            counts, edges = np.histogram(joined, bins=BINS)
            found[str(t)] = {"low": float(edges[0]), "high": float(edges[-1]), "counts": counts.tolist()}
    return {"what": chosen.what, "timesteps": found}
