"""Frozen dataclasses from the JSON that `dataclasses.asdict` made of them; pydantic checks their type hints."""

from functools import cache
from typing import Any, TypeVar

_T = TypeVar("_T")


def record_from_json(kind: type[_T], text: str | bytes) -> _T:
    """The record in a JSON text: exactly the fields of `kind`, each of its own type. An integer is a float, too.

    The fields of a record have no defaults, as pydantic would put them where a field is missing.

    Raises:
        ValueError: no JSON, or another record; the message names the field.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(text, strict=True, extra="forbid")  # type: ignore[arg-type, no-any-return]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name, field = getattr(kind, "__name__", kind), ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(
            f"a record must hold the fields of {name}, got {first['input']!r:.80} at {field} ({first['msg']}); it was "
            "written by another version"
        ) from error


@cache
def _adapter(kind: Any) -> Any:
    # Where no record is read, nobody waits for this import.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
