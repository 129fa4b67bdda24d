"""Where a student parts from its teacher: its error at every timestep that it predicts, over a stated subset."""

from typing import Any

import numpy as np

from advkd.browse.sorting import readable, subset
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent

MOST_SAMPLES = 128
"""As many as a wall shows at once: every gallery asks for this."""


def error_curve(view: StoreSnapshot, student: ShownStudent, seed: int) -> dict[str, Any]:
    """Returns, as plain JSON, `[t, root mean square error]` of every submodule, and the subset in words."""
    shared = student.shared_timesteps(view.spec)
    wanted = [view.spec.timesteps[0], *shared]
    chosen = subset(view, seed, MOST_SAMPLES, wanted)
    parts = [student.errors(view.spec, *read) for read in readable(view, chosen.samples, wanted)]
    rms = {t: np.sqrt(np.mean(np.concatenate([part[t] for part in parts]) ** 2)) for t in shared if parts}
    return {"what": chosen.what, "errors": [[t, float(error)] for t, error in rms.items()]}
