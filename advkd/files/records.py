"""Parses frozen dataclasses from the JSON of `dataclasses.asdict`; pydantic checks their type hints."""

from functools import cache
from typing import Any, TypeVar

_T = TypeVar("_T")


def record_from_json(kind: type[_T], text: str | bytes) -> _T:
    """Parses a record: exactly the fields of `kind`, each of its type; integers are accepted as floats.

    The fields of a record must have no defaults, because pydantic would use them for missing fields.

    Raises:
        ValueError: the text is no JSON, or another record; the message names the field.
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
    # Imported here, so that only processes that read records wait for it.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
