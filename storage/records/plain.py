"""Makes the fields of a settings record plain: what numpy, pathlib and lists hand over becomes what it stands for.

Settings are hashed, compared and written as JSON. A numpy integer or a `Path` in them would fail much later.
"""

import os
from collections.abc import Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, get_args

import numpy as np

_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "None"}


def make_plain(record: Any) -> None:
    """Replaces numpy scalars, arrays, lists and paths in the fields of a frozen dataclass; call it in `__post_init__`.

    Raises:
        ValueError: a field that is declared as a number, text or a truth value, or None, is something else.
    """
    for entry in fields(record):
        value = getattr(record, entry.name)
        plain = _plain(value)
        if plain is not value:
            object.__setattr__(record, entry.name, plain)
        kinds = get_args(entry.type) or (entry.type,)
        if all(kind in _NAMES for kind in kinds) and not any(_fits(plain, kind) for kind in kinds):
            wanted = " or ".join(_NAMES[kind] for kind in kinds)
            raise ValueError(
                f"{type(record).__name__}.{entry.name} must be {wanted}, got {plain!r} ({type(plain).__name__}); "
                "convert it first"
            )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        parts = tuple(_plain(part) for part in value)
        return value if type(value) is tuple and all(a is b for a, b in zip(parts, value, strict=True)) else parts
    return value


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
