"""`advkd teacher`: show a teacher, convert one from pickles, and train the embedded one."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from advkd.cli.precompute_options import SampleSize
from advkd.files import publish, workplace
from advkd.runtime import progress
from advkd.teachers import (
    AUTO,
    SOLVERS,
    SolverSpec,
    Teacher,
    TeacherOptions,
    check_prediction,
    convert_teacher,
    deciding_files,
    fitting_solver,
    folder_fingerprint,
    is_alone,
    load_teacher,
    resolve_source,
    split_options,
    split_pin,
    with_option,
)
from advkd.text import replaced_text

app = typer.Typer(name="teacher", help="Look at teachers, convert them, train the embedded one.", no_args_is_help=True)

_SHOWN = 4
_TRAINED = {
    "digits": "advkd.teachers.digits",
    "digits-classes": "advkd.teachers.digits_classes",
    "emoji": "advkd.teachers.emoji",
}
"""Embedded teachers that were trained, and where their recipes are."""
_WITH_DATA = ("emoji",)
"""Those whose training images are a file, fetched from elsewhere."""


@app.command("show")
def show_command(
    source: Annotated[str, typer.Argument(metavar="TEACHER", help="Embedded name, folder, s3:// URI or hub id.")],
    sample_size: SampleSize = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Print a teacher's name, fingerprint and shape, which are part of a store's identity, and its solvers."""
    source = source if sample_size is None else with_option(source, "sample_size", sample_size)
    teacher, files = load_teacher(source), _files(source)
    check_prediction(teacher)
    solvers = _solvers(teacher)
    facts = {
        "name": teacher.name,
        "fingerprint": teacher.fingerprint,
        "sample_shape": list(teacher.space.shape),
        "train_timesteps": teacher.grid(fitting_solver(SolverSpec(kind=AUTO, steps=1), teacher)).labels[0] + 1,
        "solvers": solvers if as_json else "; ".join(f"{kind} ({text})" if text else kind for kind, text in solvers),
        "files": files,
        **({} if teacher.conditions.facts is None else {"conditions": teacher.conditions.facts}),
    }
    if as_json:
        typer.echo(json.dumps(facts))
        return
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    facts["files"] = ", ".join(files[:_SHOWN]) + more
    typer.echo("\n".join(f"{name}: {value}" for name, value in facts.items() if value != ""))


@app.command("convert")
def convert_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder, s3:// URI or hub id with pickled weights.")],
    out: Annotated[str, typer.Option(help="New folder, or URI, for the pipeline with safetensors.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Make a safetensors folder of a teacher that has only pickles (.bin); other commands never open pickles."""
    with workplace(out) as folder, progress() as report:
        convert_teacher(source, folder, lambda done, total: report("converting", done, total))
        fingerprint = folder_fingerprint(folder)
        publish(folder, out)
    typer.echo(json.dumps({"uri": out, "fingerprint": fingerprint}) if as_json else out)


def _solvers(teacher: Teacher) -> list[tuple[str, str]]:
    """Returns the solvers that take the teacher, each with the settings of the teacher's scheduler that it replaces."""
    fitting = []
    for kind in SOLVERS:
        try:
            teacher.grid(SolverSpec(kind=kind, steps=1))
        except ValueError:
            continue
        fitting.append((kind, replaced_text(teacher.solver_config(SolverSpec(kind=kind, steps=1)))))
    return fitting


@app.command("train")
def train_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of an embedded teacher that was trained.")],
    out: Annotated[Path, typer.Option(help="Folder for the pipeline; an interrupted training goes on there.")],
    images: Annotated[int | None, typer.Option(help="Training images seen; default: the embedded teacher's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and noise.")] = 0,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The npm package of emoji; default: downloaded once.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train an embedded teacher anew: digits take about half an hour on one core of a recent CPU, emoji hours."""
    if name not in _TRAINED:
        raise ValueError(
            f"a teacher that was trained must be one of {sorted(_TRAINED)}, got {name!r}; name one of them"
        )
    if data is not None and name not in _WITH_DATA:
        raise ValueError(
            f"training images are a file for {', '.join(_WITH_DATA)} alone, got {data} for {name}; leave --data out"
        )
    recipe = import_module(_TRAINED[name])
    spec = replace(recipe.TRAINING, seed=seed, images=recipe.TRAINING.images if images is None else images)
    with progress() as report:
        for step in recipe.train(spec, out, *(() if data is None else (data,))):
            report(step.part, step.images, step.of, f"loss {step.loss:.4f}")
    typer.echo(json.dumps({"uri": str(out), "images": spec.images}) if as_json else str(out))


def _files(source: str) -> list[str]:
    """Returns the files that decide what a folder's teacher computes, which say its variant; none without a folder."""
    pinned_place, fingerprint = split_pin(source)
    place, options = split_options(pinned_place)
    if is_alone(place):
        return []
    folder = resolve_source(place, fingerprint if options == TeacherOptions() else None)
    return [path.relative_to(folder).as_posix() for path in deciding_files(folder)]
