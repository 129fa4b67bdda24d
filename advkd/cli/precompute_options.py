"""The options of `advkd precompute`, shared with `advkd cache plan`, so that a plan is of what will be computed."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from advkd.teachers import SolverSpec, sized
from advkd.trajectories import PrecomputeSpec

_SPEC = "spec"

SampleSize = Annotated[
    str | None,
    typer.Option(metavar="N|HxW", help="Size of the images of a teacher whose config says sample_size null."),
]


def precompute_spec(
    teacher: Annotated[str, typer.Option(help="Embedded name, folder, s3:// URI or hub id.")] = "digits",
    sample_size: SampleSize = None,
    store: Annotated[str, typer.Option(help="Root URI of the stores: a folder or s3://bucket/prefix.")] = "runs/stores",
    samples: Annotated[int, typer.Option(help="Trajectories; more of them later extend the same store.")] = 8192,
    solver: Annotated[
        str, typer.Option(help="unipc, dpmpp, ddim, ddpm (ancestral), flow-euler; auto: the best that fits.")
    ] = "ddim",
    steps: Annotated[int, typer.Option(help="Solver steps, network passes per trajectory.")] = 20,
    captures: Annotated[int, typer.Option(help="States kept besides the noise, clean included.")] = 4,
    shrink: Annotated[float, typer.Option(help="Their distances shrink by this, noise to clean; 1: even.")] = 1.0,
    timesteps: Annotated[str | None, typer.Option(help="Captured timesteps instead, as 799,599,399,199,0.")] = None,
    seed: Annotated[int, typer.Option(help="Base seed of the noises.")] = 0,
    format: Annotated[str, typer.Option(help="Layout: zarr, webdataset, or an installed package's.")] = "zarr",
    dtype: Annotated[str, typer.Option(help="Stored numbers: float16 or float32.")] = "float16",
    noise: Annotated[str, typer.Option(help="stored, or seeded: drawn again by readers, same values.")] = "stored",
    resolutions: Annotated[
        str | None, typer.Option(help="Stored HxW per timestep from the noise on: 16,16,8,16x8.")
    ] = None,
    uint8: Annotated[
        str | None, typer.Option(help="Near-clean states as uint8, TIMESTEP:LOW:HIGH,...: 0:-1.2:1.2.")
    ] = None,
    shard_samples: Annotated[int | None, typer.Option(help="Samples per shard; default: at most 512.")] = None,
    block_samples: Annotated[
        int | None, typer.Option(help="Samples per chunk, and per teacher batch at most; default: 128, or 64 MiB.")
    ] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Samples per teacher batch; default: as many of a chunk as fit into memory.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Numbers of the teacher's network: float32; bfloat16 or float16 where there are such.")
    ] = "float32",
    device: Annotated[str, typer.Option(help="torch device: cpu or cuda.")] = "cpu",
) -> PrecomputeSpec:
    """Builds the spec from options as typed; raises `ValueError` for an invalid one."""
    return PrecomputeSpec(
        teacher=teacher if sample_size is None else sized(teacher, sample_size),
        store=store,
        samples=samples,
        solver=SolverSpec(kind=solver, steps=steps),
        captures=captures,
        shrink=shrink,
        timesteps=None if timesteps is None else _integers("--timesteps", timesteps),
        seed=seed,
        format=format,
        dtype=dtype,
        noise=noise,
        resolutions=None if resolutions is None else _resolutions(resolutions),
        uint8=() if uint8 is None else _uint8(uint8),
        shard_samples=shard_samples,
        block_samples=block_samples,
        micro_batch=micro_batch,
        precision=precision,
        device=device,
    )


def takes_precompute_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces a command's parameter `spec: PrecomputeSpec` by all options of `precompute_spec`."""
    options = signature(precompute_spec).parameters
    own = [parameter for name, parameter in signature(command).parameters.items() if name != _SPEC]

    @wraps(command)
    def with_options(**given: Any) -> None:
        of_spec = {name: given.pop(name) for name in options}
        command(**{_SPEC: precompute_spec(**of_spec)}, **given)

    parameters = [option.replace(kind=Parameter.KEYWORD_ONLY) for option in (*options.values(), *own)]
    # Typer reads the options from the signature.
    vars(with_options)["__signature__"] = Signature(parameters)
    return with_options


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
