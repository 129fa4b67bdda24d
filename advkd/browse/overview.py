"""What many samples show, of a stated subset: histograms of their values, a student's errors, and a map of samples.

The map shows the first two principal components of features. These are the evaluation's where they need no teacher's
network, which a store does not hold: of the embedded teachers of digits as pixels. Else they are the states, pooled to
at most 8x8; the page says which. The components are those of the teacher's clean states at every timestep, so that
samples can be followed through time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.display import latent
from advkd.browse.labels import class_numbers, conditioned
from advkd.browse.sorting import MOST_SAMPLES, MOST_STUDENT_SAMPLES, readable, subset
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent, clean_image, implies_clean

BINS = 48
_MOST_OF_HISTOGRAMS = 512
_MOST_OF_A_CURVE = 128
"""As many as a wall shows at once: every gallery asks for a curve."""
_CLIPPED = 1.001
"""Magnitude from which on a value is beyond [-1, 1], rounding aside."""
_SIDE = 8
_DIGITS = (1, 16, 16)
DIGITS_FINGERPRINTS = frozenset(
    {
        "5ea626334eda3db2b35ad71f125ed143b6dcb1ff25a145e1fb58a994f14d2fdf",
        "ca1365ef9fd04f8088e48e21893afdfdcddf176b6be0bdf71a56eadef97981b5",
    }
)
"""Teachers of digits as pixels (`advkd.features.shows_digits`), written out because their rooms import torch."""
Features = npt.NDArray[np.float64]


def histograms(view: StoreSnapshot) -> dict[str, Any]:
    """Returns, as plain JSON, the range of the bins and the counts for each timestep.

    `beyond` is the share of the clean values that pictures clip.
    """
    spec = view.spec
    if view.num_samples == 0:
        return {"what": "no samples yet", "timesteps": {}, "beyond": 0.0}
    chosen = subset(view, 0, _MOST_OF_HISTOGRAMS, spec.timesteps)
    read = [states for _, states in readable(view, chosen.samples, spec.timesteps)]
    bins: dict[str, Any] = {}
    beyond = 0.0
    for t in spec.timesteps if read else ():
        parts = [states[t] for states in read]
        low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
        counts = sum(np.histogram(part.astype(np.float64), BINS, (low, high))[0] for part in parts)
        bins[str(t)] = {"low": low, "high": high, "counts": np.asarray(counts).tolist()}
        if t == spec.timesteps[-1] and not latent(spec):
            beyond = sum(int((np.abs(part) > _CLIPPED).sum()) for part in parts) / sum(part.size for part in parts)
    return {"what": chosen.what, "timesteps": bins, "beyond": beyond}


def error_curve(view: StoreSnapshot, student: ShownStudent, seed: int) -> dict[str, Any]:
    """Returns, as plain JSON, `[t, root mean square error]` of every submodule, and the subset in words."""
    shared = student.shared_timesteps(view.spec)
    wanted = [view.spec.timesteps[0], *shared]
    chosen = subset(view, seed, _MOST_OF_A_CURVE, wanted)
    parts = [student.errors(view.spec, *read) for read in readable(view, chosen.samples, wanted)]
    rms = {t: np.sqrt(np.mean(np.concatenate([part[t] for part in parts]) ** 2)) for t in shared if parts}
    return {"what": chosen.what, "errors": [[t, float(error)] for t, error in rms.items()]}


def sample_map(view: StoreSnapshot, t: int, seed: int, student: ShownStudent | None) -> dict[str, Any]:
    """Returns, as plain JSON, places `[x, y]` of the teacher's samples and the student's, and how they were made."""
    spec, (first, clean) = view.spec, (view.spec.timesteps[0], view.spec.timesteps[-1])
    implied = t != clean and implies_clean(spec, t)
    wanted = sorted({clean, t, *([first] if implied or student is not None else [])}, reverse=True)
    chosen = subset(view, seed, MOST_SAMPLES if student is None else MOST_STUDENT_SAMPLES, wanted)
    extract, named = _extractor(view)
    parts: dict[str, list[Features]] = {"basis": [], "teacher": [], "student": []}
    samples: list[int] = []
    for portion, states in readable(view, chosen.samples, wanted):
        samples += portion
        shown = {"teacher": states[t]}
        if student is not None:
            shown["student"] = student.states(spec, portion, states[first])[t]
        parts["basis"].append(extract(states[clean]))
        for who, state in shown.items():
            image = clean_image(state, states[first], spec, t) if implied else state
            parts[who].append(parts["basis"][-1] if image is states[clean] else extract(image))
    if not samples:
        return {"what": chosen.what, "how": "no sample can be read", "samples": [], "teacher": [], "student": []}
    mean, axes, shares = components(np.concatenate(parts["basis"]))
    what = "clean states" if t == clean else f"{'clean estimates' if implied else 'states'} at t = {t}"
    return {
        "what": chosen.what,
        "how": f"{what} by {named}; first two components of the clean states "
        f"({100 * shares[0]:.0f} % and {100 * shares[1]:.0f} % of their variance)",
        "samples": samples,
        "labels": class_numbers(view, np.array(samples)).tolist() if conditioned(view) else [],
        **{
            who: np.round((np.concatenate(parts[who]) - mean) @ axes, 4).tolist() if parts[who] else []
            for who in ("teacher", "student")
        },
    }


def _extractor(view: StoreSnapshot) -> tuple[Callable[[npt.NDArray[Any]], Features], str]:
    """What turns states into features, and its name in words. Imports torch only for digits."""
    spec = view.spec
    if spec.fingerprint in DIGITS_FINGERPRINTS and spec.state_shape(spec.timesteps[-1]) == _DIGITS:
        import torch

        from advkd.features import digits_extractor

        extractor = digits_extractor()

        def read(states: npt.NDArray[Any]) -> Features:
            return extractor(torch.from_numpy(states.astype(np.float32))).double().numpy()

        return read, "the evaluation's features (digit classifier)"
    kind = "pixels" if spec.space is None else "latents"
    return pooled, (
        f"{kind} pooled to at most {_SIDE}x{_SIDE}, not the evaluation's features, since the store does not hold its "
        "teacher's network"
    )


def pooled(states: npt.NDArray[Any]) -> Features:
    """Returns the box means of states `[B, C, H, W]`, `[B, C * h * w]` with h and w at most 8."""
    (channels, height, width), values = states.shape[1:], states.astype(np.float32)
    # As products of matrices, a fifth of the time of sums over slices.
    means = _boxes(height).T @ (values.reshape(-1, width) @ _boxes(width)).reshape(len(states) * channels, height, -1)
    return means.reshape(len(states), -1).astype(np.float64)


def _boxes(size: int) -> npt.NDArray[np.float32]:
    """Returns the matrix `[size, boxes]` that takes the means of at most 8 boxes."""
    ends, place = np.linspace(0, size, min(_SIDE, size) + 1).astype(int), np.arange(size)[:, None]
    return (((ends[:-1] <= place) & (place < ends[1:])) / np.diff(ends)).astype(np.float32)


def components(features: Features) -> tuple[Features, Features, tuple[float, float]]:
    """Returns the mean `[D]`, the first two principal axes `[D, 2]`, and their shares of the variance.

    The sign of an axis is that of its largest entry, so that a map does not flip between two views.
    """
    mean = features.mean(axis=0)
    values, vectors = np.linalg.eigh((features - mean).T @ (features - mean))
    axes = np.zeros((features.shape[1], 2))
    last = vectors[:, ::-1][:, :2]
    axes[:, : last.shape[1]] = last
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
    kept = np.maximum([*values[::-1][:2], 0.0][:2], 0) / (values.sum() or 1.0)
    return mean, axes, (float(kept[0]), float(kept[1]))
