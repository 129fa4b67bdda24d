"""Where a student parts from its teacher: its error at every timestep that it predicts, over a stated subset."""

from typing import Any

import numpy as np

from advkd.browse.sorting import chunks, norm, subset
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent

MOST_SAMPLES = 128
"""As many as a wall shows at once: every gallery asks for this."""


def error_curve(view: StoreSnapshot, student: ShownStudent, seed: int) -> dict[str, Any]:
    """Returns, as plain JSON, `[t, root mean square error]` of every submodule, and the subset in words."""
    spec, shared = view.spec, student.shared_timesteps(view.spec)
    first = spec.timesteps[0]
    chosen = subset(view, seed, MOST_SAMPLES, [first, *shared])
    squares, count = dict.fromkeys(shared, 0.0), 0
    for portion in chunks(view, chosen.samples, [first, *shared]):
        looked = view.read(portion, [first, *shared])
        good = np.array([sample not in looked.marks for sample in portion])
        if good.any():
            predicted = student.states(spec, portion, looked.states[first])
            count += int(good.sum())
            for t in shared:
                apart = norm(predicted[t] - looked.states[t].astype(np.float32))
                squares[t] += float((apart[good] ** 2).sum())
    errors = [[t, float(np.sqrt(squares[t] / count))] for t in shared] if count else []
    return {"what": chosen.what, "errors": errors}
