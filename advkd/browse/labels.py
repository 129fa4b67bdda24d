"""Class labels and prompts of samples: those that their teacher was given, which the store's seed tells."""

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from advkd.browse.query import whole
from advkd.browse.store_view import StoreSnapshot
from advkd.diffusion import Labels, Prompts, conditions_of, cut
from advkd.networks import kept_prompts
from storage.records import condition_generator

_PROMPTS = 100
_CLASSES = 1000


@dataclass(frozen=True)
class Classes:
    """The classes by which the samples of a store can be told apart."""

    heading: str
    names: tuple[str, ...]
    """By number, as people choose among them."""
    origin: str
    """How the class of a sample is known, and how many there are."""
    told: str
    """Of samples of one class, whose name takes the place of {}."""


def classes_of(view: StoreSnapshot) -> Classes | None:
    """Returns the classes or the first prompts of a store's samples, or None where nothing tells them apart."""
    conditions = _conditions(view)
    if conditions is None:
        return None
    if isinstance(conditions, Prompts):
        heading, told, count, most = "Prompt", 'with the prompt "{}"', conditions.count, _PROMPTS
    else:
        heading, told, count, most = "Class", 'of class "{}"', conditions.classes, _CLASSES
    names = tuple(cut(_name(view, conditions, number)) for number in range(min(count, most)))
    more = f", the first {most:,} of {count:,}" if count > most else ""
    return Classes(heading, names, f"What the teacher was told to show{more}", told)


def conditioned(view: StoreSnapshot) -> bool:
    """Returns whether a store's teacher was told a class or a prompt."""
    return _conditions(view) is not None


def matching(view: StoreSnapshot, words: str) -> set[int] | None:
    """Returns the numbers of the classes or prompts that hold all words; None where nothing was told."""
    conditions, wanted = _conditions(view), words.lower().split()
    if conditions is None:
        return None
    if isinstance(conditions, Labels) and not conditions.names:
        # There may be any number of classes without names.
        return {int(word) for word in wanted if whole(word) is not None and int(word) < conditions.classes}
    count = len(_texts(view, conditions)) if isinstance(conditions, Prompts) else conditions.classes
    names = (_name(view, conditions, number).lower() for number in range(count))
    return {number for number, name in enumerate(names) if all(word in name for word in wanted)}


def condition_text(view: StoreSnapshot, sample: int) -> str:
    """Returns what the teacher was told of a sample, for people; "" where it was told nothing."""
    conditions = _conditions(view)
    if conditions is None:
        return ""
    name = _name(view, conditions, _drawn(view, conditions, sample))
    return f"class {name}" if isinstance(conditions, Labels) else name


def class_numbers(view: StoreSnapshot, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The class of each sample of a conditional store, or the number of its prompt."""
    conditions = _conditions(view)
    assert conditions is not None, "whether it is conditional was asked before"
    return np.array([_drawn(view, conditions, int(index)) for index in samples], dtype=np.int64)


def _conditions(view: StoreSnapshot) -> Labels | Prompts | None:
    conditions = conditions_of(view.spec.conditioning)
    return conditions if isinstance(conditions, Labels | Prompts) else None


def _drawn(view: StoreSnapshot, conditions: Labels | Prompts, sample: int) -> int:
    (number,) = conditions.draw(condition_generator(view.spec.base_seed, sample)).values()
    return number


def _name(view: StoreSnapshot, conditions: Labels | Prompts, number: int) -> str:
    if isinstance(conditions, Prompts):
        texts = _texts(view, conditions)
        return texts[number] if number < len(texts) else f"prompt {number:,}"
    name = conditions.names[number] if conditions.names else ""
    return str(number) if name in ("", str(number)) else f"{number} {name}"


def _texts(view: StoreSnapshot, conditions: Prompts) -> tuple[str, ...]:
    return _kept_texts(view.store.uri, json.dumps(conditions.facts))


@lru_cache(maxsize=8)
def _kept_texts(store: str, facts: str) -> tuple[str, ...]:
    return tuple(kept_prompts(store, json.loads(facts)))
