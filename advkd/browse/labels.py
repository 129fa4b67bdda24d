"""Class labels and prompts of samples: those that their teacher was given, which the store's seed tells.

Of an unconditional one, what the embedded digit classifier reads in the clean images, where they are digits.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from advkd.browse.query import whole
from advkd.browse.sorting import chunks
from advkd.browse.store_view import StoreSnapshot
from advkd.diffusion import Labels, Prompts, conditions_of, cut
from advkd.networks import kept_prompts
from storage.records import condition_generator

if TYPE_CHECKING:
    from advkd.features import DigitClassifier

_DIGITS = (1, 16, 16)
DIGITS_FINGERPRINTS = frozenset(
    {
        "5ea626334eda3db2b35ad71f125ed143b6dcb1ff25a145e1fb58a994f14d2fdf",
        "ca1365ef9fd04f8088e48e21893afdfdcddf176b6be0bdf71a56eadef97981b5",
    }
)
"""Unconditional teachers of digits (`advkd.features.shows_digits`), written out because their rooms import torch."""
_PROMPTS = 100
_CLASSES = 1000


@dataclass(frozen=True)
class Classes:
    """The classes by which the samples of a store can be told apart."""

    heading: str
    names: tuple[str, ...]
    """By number, as people choose among them."""
    origin: str
    """How the class of a sample is known."""
    told: str
    """Of samples of one class, whose name takes the place of {}."""


def classes_of(view: StoreSnapshot) -> Classes | None:
    """Returns the classes or the first prompts of a store's samples, or None where nothing tells them apart."""
    spec = view.spec
    conditions = conditions_of(spec.conditioning)
    if isinstance(conditions, Prompts):
        shown = tuple(map(cut, _texts(view.store.uri, json.dumps(conditions.facts))[:_PROMPTS]))
        more = f", the first {_PROMPTS} of {conditions.count:,}" if conditions.count > _PROMPTS else ""
        return Classes("Prompt", shown, f"What the teacher was told to show{more}", 'with the prompt "{}"')
    if isinstance(conditions, Labels):
        names = conditions.names or ("",) * min(conditions.classes, _CLASSES)
        shown = tuple(f"{k} {name}".strip() for k, name in enumerate(names[:_CLASSES]))
        more = f", the first {_CLASSES:,} of {conditions.classes:,}" if conditions.classes > _CLASSES else ""
        return Classes("Class", shown, f"What the teacher was told to show{more}", 'of class "{}"')
    if conditions.facts is None and _shows_digits(view):
        origin = "As the embedded digit classifier reads the clean image"
        return Classes("Digit", tuple(map(str, range(10))), origin, 'read as "{}" by the embedded classifier')
    return None


def conditioned(view: StoreSnapshot) -> bool:
    """Returns whether a store's teacher was told a class or a prompt."""
    return isinstance(conditions_of(view.spec.conditioning), Labels | Prompts)


def matching(view: StoreSnapshot, words: str) -> set[int] | None:
    """Returns the numbers of the classes or prompts that hold all words; None where nothing was told."""
    conditions = conditions_of(view.spec.conditioning)
    if isinstance(conditions, Prompts):
        names: Sequence[str] = _texts(view.store.uri, json.dumps(conditions.facts))
    elif isinstance(conditions, Labels) and conditions.names:
        names = [f"{k} {name}" for k, name in enumerate(conditions.names)]
    elif isinstance(conditions, Labels):
        # There may be any number of classes without names.
        return {int(word) for word in words.split() if whole(word) is not None and int(word) < conditions.classes}
    else:
        return None
    wanted = words.lower().split()
    return {number for number, name in enumerate(names) if all(word in name.lower() for word in wanted)}


def condition_text(view: StoreSnapshot, sample: int) -> str:
    """Returns what the teacher was told of a sample, for people; "" where it was told nothing."""
    conditions = conditions_of(view.spec.conditioning)
    if isinstance(conditions, Prompts):
        texts, number = _texts(view.store.uri, json.dumps(conditions.facts)), _drawn(view, conditions, sample)
        return texts[number] if number < len(texts) else f"prompt {number:,}"
    if isinstance(conditions, Labels):
        number = _drawn(view, conditions, sample)
        return f"class {number} {conditions.names[number] if conditions.names else ''}".strip()
    return ""


def _drawn(view: StoreSnapshot, conditions: Labels | Prompts, sample: int) -> int:
    (number,) = conditions.draw(condition_generator(view.spec.base_seed, sample)).values()
    return number


@lru_cache(maxsize=8)
def _texts(store: str, facts: str) -> tuple[str, ...]:
    return tuple(kept_prompts(store, json.loads(facts)))


def class_numbers(view: StoreSnapshot, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The class of each sample of a store that has classes, -1 where it cannot be read."""
    conditions = conditions_of(view.spec.conditioning)
    if not isinstance(conditions, Labels | Prompts):
        return digits(view, samples)
    return np.array([_drawn(view, conditions, int(index)) for index in samples], dtype=np.int64)


def digits(view: StoreSnapshot, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the digit that each sample's clean image shows, -1 if the sample cannot be read."""
    import torch

    clean, labels = view.spec.timesteps[-1], [np.zeros(0, dtype=np.int64)]
    for portion in chunks(view, samples, [clean]):
        looked = view.read(portion, [clean])
        with torch.inference_mode():
            read = _classifier()(torch.from_numpy(looked.states[clean].astype(np.float32))).argmax(1).numpy()
        labels.append(np.where([sample in looked.marks for sample in portion], -1, read))
    return np.concatenate(labels)


def digit_features(view: StoreSnapshot) -> Callable[[npt.NDArray[Any]], npt.NDArray[np.float64]] | None:
    """Returns what the evaluation reads in images of digits; None for stores of other teachers."""
    if not _shows_digits(view):
        return None

    def read(states: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        import torch

        with torch.inference_mode():
            return _classifier().features(torch.from_numpy(states.astype(np.float32))).double().numpy()

    return read


def _shows_digits(view: StoreSnapshot) -> bool:
    """Returns whether the classifier reads a store: its teacher is known to show digits, and they are kept whole."""
    spec = view.spec
    return spec.fingerprint in DIGITS_FINGERPRINTS and spec.state_shape(spec.timesteps[-1]) == _DIGITS


@cache
def _classifier() -> "DigitClassifier":
    from advkd.features import load_classifier

    return load_classifier()
