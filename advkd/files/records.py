"""Frozen dataclasses from the JSON that `dataclasses.asdict` made of them, by their type hints."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def from_record(kind: Any, value: Any) -> Any:
    """`value`, out of JSON, as a `kind`: a dataclass, `tuple[T, ...]`, `dict[K, V]`, `T | None`, or a scalar.

    Raises:
        ValueError: another shape than `kind`; the message names the field.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        inner = next(argument for argument in arguments if argument is not NoneType)
        return None if value is None else from_record(inner, value)
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value)
    if origin is tuple:
        items = _expect(list, value, kind)
        kinds = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else arguments
        return tuple(from_record(inner, item) for inner, item in zip(kinds, items, strict=True))
    if origin is dict:
        return {arguments[0](key): from_record(arguments[1], item) for key, item in _expect(dict, value, kind).items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value if kind is Any else _expect(kind, value, kind)


def _dataclass(kind: type[Any], value: Any) -> Any:
    record: Mapping[str, Any] = _expect(dict, value, kind)
    hints = get_type_hints(kind)
    names = {item.name for item in fields(kind)}
    if names != record.keys():
        raise ValueError(
            f"a {kind.__name__} must have exactly its fields, got {sorted(names ^ record.keys())} missing or unknown; "
            "it was written by another version"
        )
    return kind(**{name: from_record(hints[name], record[name]) for name in names})


def _expect(kind: type[Any], value: Any, wanted: object) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a record must hold a {wanted}, got {value!r:.80}; it was written by another version")
    return value
