"""Dataclasses as flow parameters, of which the server refuses unknown keys before it creates a run.

Prefect itself refuses them only when the run starts, on the worker.
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
"""The spec of any training method, distinguished by `method`; by default that of our method."""

Device = Literal[KINDS]
"""A kind of device, with which a deployment sets where its runs compute, whatever their specs."""

Placed = TypeVar("Placed", bound=PrecomputeSpec | RunSpec)


def placed(spec: Placed, device: str | None) -> Placed:
    """Returns the spec with that device; unchanged for None."""
    return spec if device is None else replace(spec, device=device)
