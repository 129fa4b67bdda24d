"""Class labels of samples, which the embedded digit classifier assigns to the clean images.

Stores hold no labels yet, so samples have labels only if the images are digits.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from advkd.browse.sorting import chunks
from advkd.browse.store_view import StoreSnapshot
from storage import TrajectorySpec

if TYPE_CHECKING:
    from advkd.evaluation import DigitClassifier

LABELS = 10
_DIGITS = (1, 16, 16)


def has_labels(spec: TrajectorySpec) -> bool:
    """Returns whether samples of a store have labels."""
    clean = spec.timesteps[-1]
    return tuple(spec.sample_shape) == _DIGITS and spec.state_shape(clean) == _DIGITS


def digits(view: StoreSnapshot, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the digit that each sample's clean image shows, -1 if the sample cannot be read."""
    import torch

    clean, labels = view.spec.timesteps[-1], [np.zeros(0, dtype=np.int64)]
    for portion in chunks(samples):
        looked = view.read(portion, [clean])
        with torch.inference_mode():
            read = _classifier()(torch.from_numpy(looked.states[clean].astype(np.float32))).argmax(1).numpy()
        labels.append(np.where([sample in looked.marks for sample in portion], -1, read))
    return np.concatenate(labels)


@cache
def _classifier() -> "DigitClassifier":
    from advkd.evaluation import load_classifier

    return load_classifier()
