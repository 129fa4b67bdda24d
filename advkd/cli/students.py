"""`advkd train|sample`: trains and samples a student. Each command imports what it needs."""

import json
from dataclasses import asdict, replace
from typing import Annotated

import typer

from advkd.cli.network_options import BatchSize, Blocks, Mirror, Patch, Width, mirror_of
from advkd.cli.result import AsJson, tell
from advkd.runtime import alike_on_this_machine, progress
from storage import join, open_store, read_bytes

Runs = Annotated[str, typer.Option(help="Folder of the registry, unless MLFLOW_TRACKING_URI is set.")]
Device = Annotated[str, typer.Option(help="torch device: cpu or cuda.")]


def train_command(
    store: Annotated[str, typer.Option(help="URI of a sealed store.")],
    out: Annotated[str, typer.Option(help="Folder or URI for checkpoints and the student; run again to resume.")],
    preset_name: Annotated[
        str, typer.Option("--preset", help="Recipe: quick (minutes on two cores), full, large (GPUs) or paper.")
    ] = "quick",
    spec_file: Annotated[
        str | None,
        typer.Option(
            "--spec", help='JSON file with the whole spec of a run, of the method it names ("method"), not a preset.'
        ),
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Total number of trajectories seen.")] = None,
    width: Width = None,
    blocks: Blocks = None,
    patch: Patch = None,
    batch_size: BatchSize = None,
    captures: Annotated[
        int | None, typer.Option(help="Submodules: as many of the store's states, evenly spaced.")
    ] = None,
    mirror: Mirror = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and order.")] = None,
    device: Annotated[str | None, typer.Option(help="torch device: cpu or cuda.")] = None,
    cache: Annotated[str | None, typer.Option(help="Cache for objects read from S3: none, memory or disk.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a student from a store alone; run the same command again to resume from the last checkpoint.

    In several processes: torchrun --nproc-per-node 2 -m advkd train ...
    """
    from advkd.presets import Changes, fitted, preset
    from advkd.training import STUDENT_FOLDER, train, train_spec_from_json

    with alike_on_this_machine():
        changes = Changes(
            width=width, blocks=blocks, patch=patch, batch_size=batch_size, captures=captures, mirror=mirror_of(mirror)
        )
        if spec_file is None:
            base = fitted(preset(preset_name), open_store(store).manifest.spec, changes)
        elif changes != Changes():
            raise ValueError(
                "--width, --blocks, --patch, --batch-size, --captures and --mirror change a preset, got them beside "
                "--spec; say them in the file"
            )
        else:
            base = train_spec_from_json(_read_json(spec_file))
        spec = replace(
            base,
            samples=base.samples if samples is None else samples,
            seed=base.seed if seed is None else seed,
            device=device or base.device,
            cache=cache or base.cache,
        )
    with progress() as report:
        for step in train(spec, store, out):
            figure = f"error {step.distillation:.4f}" if step.distillation else f"margin {step.margin:.2f}"
            report("training", step.samples, step.total, f"{step.phase}, {figure}")
    student = join(out, STUDENT_FOLDER)
    tell(f"student trained on {spec.samples} samples", student, {"spec": asdict(spec)}, as_json)


def sample_command(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="A student: folder, s3://bucket/prefix or models:/NAME@champion.")
    ],
    n: Annotated[int, typer.Option("--n", help="Images.")] = 16,
    seed: Annotated[int, typer.Option(help="Base seed; image i depends on (seed, i) alone.")] = 0,
    out: Annotated[str, typer.Option(help="PNG file to write: a path or URI.")] = "grid.png",
    label: Annotated[
        list[str] | None,
        typer.Option(help="Class of the images, a number or name; give more, or all. Default: drawn from the seed."),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Prompt of the images; give more, or all stored ones. Default: drawn from the seed."),
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="The teacher's pipeline, for prompts that the student was not trained on.")
    ] = None,
    runs: Runs = "runs",
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Sample a student in one network pass and write a grid of images."""
    from advkd.cli.sample import sample_grid

    sample_grid(place, n, seed, out, device, runs, label or (), prompt or (), text_encoder)
    tell(f"{n} images", str(out), {"n": n, "seed": seed}, as_json)


def _read_json(uri: str) -> object:
    try:
        return json.loads(read_bytes(uri))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        kind = type(error.__cause__ or error).__name__
        raise ValueError(
            f"--spec must be a JSON file that holds the spec of a run, got {kind} for {uri}; write one"
        ) from error
