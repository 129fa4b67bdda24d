"""Groups, motifs and halves of emoji: pure rules on the entries of the package's emoji.json.

A group is a class of the teacher: Unicode's category, but hearts and other signs of emotion are symbols, and activities
are objects. A motif is what remains of an emoji without skin tone, gender and direction, so that 30 pictures of one
runner weigh as much as one pizza and never lie in both halves.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

GROUPS = ("faces", "people", "animals", "food", "travel", "objects", "symbols", "flags")

_CATEGORIES: Mapping[str, str] = {
    "Smileys & Emotion": "faces",
    "People & Body": "people",
    "Animals & Nature": "animals",
    "Food & Drink": "food",
    "Travel & Places": "travel",
    "Activities": "objects",
    "Objects": "objects",
    "Symbols": "symbols",
    "Flags": "flags",
}
_SUBCATEGORIES: Mapping[str, str] = {"heart": "symbols", "emotion": "symbols"}
_TONES = {f"1F3F{digit}" for digit in "BCDEF"}
_PERSONS = {"1F468", "1F469", "1F9D1"}
_GENDERS_AND_DIRECTIONS = {"2640", "2642", "27A1"}
_JOINERS = {"200D", "FE0F"}
_VARIANTS = _TONES | _PERSONS | _GENDERS_AND_DIRECTIONS | _JOINERS
_WITH_TEXT = ("symbols", "flags")


def group_of(entry: Mapping[str, Any]) -> str | None:
    """Returns the group of an entry of emoji.json, None if it has none: skin tones alone are no pictures."""
    return _SUBCATEGORIES.get(entry["subcategory"]) or _CATEGORIES.get(entry["category"])


def motif_of(entry: Mapping[str, Any]) -> str:
    """Returns the motif of an entry: its subcategory and its code points without the variants."""
    kept = [point for point in entry["unified"].upper().split("-") if point not in _VARIANTS]
    return f"{entry['subcategory']}/{'-'.join(kept) or 'person'}"


def is_held_out(motif: str) -> bool:
    """Returns whether a motif is in the half that is never trained on: the lowest bit of its sha256."""
    return hashlib.sha256(motif.encode()).digest()[-1] % 2 == 1


def may_be_mirrored(group: str) -> bool:
    """Returns whether a mirrored picture of the group is one as well; letters and flags are not."""
    return group not in _WITH_TEXT
