"""Dataclasses as flow parameters: a key that they do not have is refused by the server, before there is a run.

Prefect itself refuses it only when the run starts, on the worker.
"""

from typing import Annotated, Any, TypeVar

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

Specified = TypeVar("Specified")


class _NoOtherKeys:
    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        _close(schema, handler)
        return schema


def _close(schema: dict[str, Any], handler: GetJsonSchemaHandler) -> None:
    found = handler.resolve_ref_schema(schema) if "$ref" in schema else schema
    if "properties" in found:
        found["additionalProperties"] = False
        for part in found["properties"].values():
            _close(part, handler)


Strict = Annotated[Specified, _NoOtherKeys()]
