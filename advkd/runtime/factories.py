"""What a user names in Python: `package.module:factory`."""

import importlib
import re
from collections.abc import Sequence
from typing import Any

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_factory(place: str) -> bool:
    """Returns whether a place is written as `package.module:factory`."""
    return bool(_FACTORY.fullmatch(place))


def imported(place: str) -> Any:
    """Imports the module of a place, and returns what it names.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such name.
    """
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def missing_members(made: object, members: Sequence[str]) -> list[str]:
    """Returns the members that an object lacks."""
    return [member for member in members if not hasattr(made, member)]
