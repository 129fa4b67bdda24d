"""Dataclasses as flow parameters: a key that they do not have is refused by the server, before there is a run.

Prefect itself refuses it only when the run starts, on the worker.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, GetJsonSchemaHandler, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import CoreSchema

from advkd.device import KINDS
from advkd.training import PaperSpec, TrainSpec
from advkd.trajectories import PrecomputeSpec

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


def _by_method(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Whatever is wrong is then said of the spec that was meant, not of every spec that there is."""
    if not isinstance(value, dict):
        return handler(value)
    meant = PaperSpec if value.get("method") == "paper" else TrainSpec
    # Pydantic takes a config for a dataclass only where something is around it.
    return TypeAdapter(meant | None, config=ConfigDict(extra="forbid")).validate_python(value)


TrainingSpec = Annotated[Strict[TrainSpec] | Strict[PaperSpec], WrapValidator(_by_method)]
"""The spec of either method, told apart by `method`; ours where that is left out."""

Device = Literal[KINDS]
"""A kind of device, by which a deployment says where its runs compute, whatever spec they are given."""

Placed = TypeVar("Placed", PrecomputeSpec, TrainSpec, PaperSpec)


def placed(spec: Placed, device: str | None) -> Placed:
    """The spec on that device; on its own for None."""
    return spec if device is None else replace(spec, device=device)
