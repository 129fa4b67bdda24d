"""Training specs as JSON and as form parameters: one type for all methods of the table, told apart by `method`."""

import json
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Union, get_type_hints

from pydantic import Discriminator, GetJsonSchemaHandler, Tag, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, ErrorDetails

from advkd.training.methods.table import METHODS
from advkd.training.run_spec import RunSpec

DEFAULT = "layerwise"
_UNKNOWN_KEY, _NOT_AN_OBJECT = "unexpected_keyword_argument", "dataclass_type"


def method(value: Any) -> Any:
    """The method that a spec, or its JSON, names; ours where that is left out."""
    return value.get("method", DEFAULT) if isinstance(value, dict) else getattr(value, "method", DEFAULT)


class _AnyOf:
    """In its schema, the union says "any of": `{}` is a spec of ours, and not refused for fitting others as well."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        if "oneOf" in schema:
            schema["anyOf"] = schema.pop("oneOf")
        return schema


def any_spec() -> Any:
    """The type of every method's spec, for pydantic: the rows of the table, those of installed packages among them."""
    specs = tuple(Annotated[METHODS[name].spec, Tag(name)] for name in METHODS)
    return Annotated[Union[specs], Discriminator(method), _AnyOf()]  # noqa: UP007


def train_spec_from_json(data: object) -> RunSpec:
    """The spec whose `dataclasses.asdict` went through JSON; fields left out keep their defaults.

    `method` says which dataclass it is, "layerwise" where it is left out.

    Raises:
        ValueError: an unknown method, unknown keys, or values that break a rule.
    """
    row = METHODS.choose(str(method(data)), "a training spec's method")
    try:
        # Strict: a number in quotes is none. From text, because lists stand for tuples in JSON alone.
        spec: RunSpec = TypeAdapter(any_spec()).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise ValueError(_told(row.spec, error)) from error
    return spec


def _told(spec: type[RunSpec], error: ValidationError) -> str:
    """The first thing that is wrong: rule, fact, remedy."""
    first, *_ = errors = error.errors()
    raised = first.get("ctx", {}).get("error")
    if raised is not None:
        return str(raised)
    place, part = _place(spec, first)
    if first["type"] in (_NOT_AN_OBJECT, _UNKNOWN_KEY):
        unknown = [str(each["loc"][-1]) for each in errors if each["type"] == _UNKNOWN_KEY]
        got = first["input"] if first["type"] == _NOT_AN_OBJECT else unknown
        names = sorted(field.name for field in fields(part))
        return f"{place} must be an object with keys among {names}, got {got!r}; correct them"
    rule = first["msg"].removeprefix("Input should ").replace("valid integer", "whole number")
    return f"{place} must {rule}, got {first['input']!r}; correct it"


def _place(spec: type[Any], error: ErrorDetails) -> tuple[str, Any]:
    """What an error is about, as "TrainSpec.student.width", and the innermost dataclass on the way there."""
    # The path begins with the union's tag, and may end within a field's own type.
    name, part, kind = spec.__name__, spec, spec
    for step in error["loc"][1:]:
        if not is_dataclass(kind) or step not in (hints := get_type_hints(kind)):
            break
        name, part, kind = f"{name}.{step}", kind, hints[str(step)]
    return name, kind if is_dataclass(kind) else part
