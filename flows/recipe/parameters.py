"""Dataclasses as flow parameters: a key that they do not have is refused by the server, before there is a run.

Prefect itself refuses it only when the run starts, on the worker.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from advkd.device import KINDS
from advkd.training import RunSpec, any_spec
from advkd.trajectories import PrecomputeSpec

Specified = TypeVar("Specified")


class _NoOtherKeys:
    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        _close(schema, handler)
        return schema


def _close(schema: dict[str, Any], handler: GetJsonSchemaHandler) -> None:
    resolved = handler.resolve_ref_schema(schema) if "$ref" in schema else schema
    if "properties" in resolved:
        resolved["additionalProperties"] = False
        for part in resolved["properties"].values():
            _close(part, handler)


Strict = Annotated[Specified, _NoOtherKeys()]


TrainingSpec = any_spec()
"""The spec of any method of the table, told apart by `method`; ours where that is left out."""

Device = Literal[KINDS]
"""A kind of device, by which a deployment says where its runs compute, whatever spec they are given."""

Placed = TypeVar("Placed", bound=PrecomputeSpec | RunSpec)


def placed(spec: Placed, device: str | None) -> Placed:
    """The spec on that device; on its own for None."""
    return spec if device is None else replace(spec, device=device)
