"""The options of `advkd precompute`, shared with `advkd cache plan`, so that a plan is of what will be computed.

Each field of `PrecomputeSpec` is an option, with the field's name, type and default; the solver has two, and
the size of a teacher's images goes to its source.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_type_hints

import typer

from advkd.teachers import SolverSpec, with_option
from advkd.trajectories import PrecomputeSpec

SampleSize = Annotated[
    str | None,
    typer.Option(metavar="N|HxW", help="Size of the images of a teacher whose config says sample_size null."),
]
_SPEC = "spec"

_HELP: Mapping[str, str] = {
    "teacher": "Embedded name, folder, s3:// URI or hub id.",
    "store": "Root URI of the stores: a folder or s3://bucket/prefix.",
    "samples": "Trajectories; more of them later extend the same store.",
    "solver": "unipc, dpmpp, heun, ddim, ddpm (ancestral), flow-*, edm-*; auto: the best that fits.",
    "steps": "Network passes per trajectory; odd for heun.",
    "captures": "States kept besides the noise, clean included.",
    "shrink": "Their distances shrink by this, noise to clean; 1: even.",
    "timesteps": "Captured timesteps instead, as 799,599,399,199,0.",
    "seed": "Base seed of the noises.",
    "format": "Layout: zarr, webdataset, or an installed package's.",
    "dtype": "Stored numbers: float16 or float32.",
    "noise": "stored, or seeded: drawn again by readers, same values.",
    "resolutions": "Stored HxW per timestep from the noise on: 16,16,8,16x8.",
    "uint8": "Near-clean states as uint8, TIMESTEP:LOW:HIGH,...: 0:-1.2:1.2.",
    "shard_samples": "Samples per shard; default: at most 512.",
    "block_samples": "Samples per chunk, and per teacher batch at most; default: 128, or 64 MiB.",
    "micro_batch": "Samples per teacher batch; default: as many of a chunk as fit into memory.",
    "precision": "Numbers of the teacher's network: float32; bfloat16 or float16 where there are such.",
    "device": "torch device: cpu or cuda.",
}


def precompute_options() -> list[Parameter]:
    """Returns the options as Typer reads them from a signature."""
    types, options = get_type_hints(PrecomputeSpec), []
    for setting in fields(PrecomputeSpec):
        if setting.name == "solver":
            options += [_option("solver", str, SolverSpec().kind), _option("steps", int, SolverSpec().steps)]
        elif setting.name in _PARSED:
            options.append(_option(setting.name, str | None, None))
        else:
            options.append(_option(setting.name, types[setting.name], setting.default))
        if setting.name == "teacher":
            options.append(Parameter("sample_size", Parameter.KEYWORD_ONLY, default=None, annotation=SampleSize))
    return options


def precompute_spec(given: Mapping[str, Any]) -> PrecomputeSpec:
    """Builds the spec from options as typed; raises `ValueError` for an invalid one."""
    settings: dict[str, Any] = {"solver": SolverSpec(kind=given["solver"], steps=given["steps"])}
    for name, value in given.items():
        if name in _PARSED and value is not None:
            settings[name] = _PARSED[name](value)
        elif name not in {*_PARSED, "solver", "steps", "sample_size"}:
            settings[name] = value
    if given["sample_size"] is not None:
        settings["teacher"] = with_option(given["teacher"], "sample_size", given["sample_size"])
    return PrecomputeSpec(**settings)


def takes_precompute_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces a command's parameter `spec: PrecomputeSpec` by all options of `precompute_options`."""
    options = precompute_options()
    own = [parameter for name, parameter in signature(command).parameters.items() if name != _SPEC]

    @wraps(command)
    def with_options(**given: Any) -> None:
        of_spec = {option.name: given.pop(option.name) for option in options}
        command(**{_SPEC: precompute_spec(of_spec)}, **given)

    parameters = [option.replace(kind=Parameter.KEYWORD_ONLY) for option in (*options, *own)]
    # Typer reads the options from the signature.
    vars(with_options)["__signature__"] = Signature(parameters)
    return with_options


def _option(name: str, kind: Any, default: Any) -> Parameter:
    annotation = Annotated[kind, typer.Option(help=_HELP[name])]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _integers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{option} must be integers separated by commas, got {text!r}; write 799,599,0") from error


def _resolutions(text: str) -> tuple[tuple[int, int], ...]:
    try:
        sizes = [tuple(int(side) for side in part.split("x")) for part in text.split(",")]
        return tuple((size[0], size[0]) if len(size) == 1 else (size[0], *size[1:]) for size in sizes)  # type: ignore[misc]
    except ValueError as error:
        raise ValueError(f"--resolutions must be sizes separated by commas, got {text!r}; write 16,8,16x8") from error


def _uint8(text: str) -> tuple[tuple[int, float, float], ...]:
    try:
        return tuple(
            (int(t), float(low), float(high)) for t, low, high in (part.split(":") for part in text.split(","))
        )
    except ValueError as error:
        raise ValueError(
            f"--uint8 must be TIMESTEP:LOW:HIGH separated by commas, got {text!r}; write 0:-1.2:1.2"
        ) from error


_PARSED: Mapping[str, Callable[[str], Any]] = {
    "timesteps": lambda text: _integers("--timesteps", text),
    "resolutions": _resolutions,
    "uint8": _uint8,
}
"""Fields that are typed as text."""
