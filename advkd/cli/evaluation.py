"""`advkd evaluation`: rebuild the shipped files of evaluation, the digit classifier and the teachers' references."""

import json
from pathlib import Path
from typing import Annotated

import typer

from advkd.runtime import progress

app = typer.Typer(name="evaluation", help="Rebuild the shipped files of evaluation.", no_args_is_help=True)


@app.command("train-classifier")
def train_classifier_command(
    out: Annotated[Path, typer.Option(help="safetensors file to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train the digit classifier whose features FD(digits) uses: takes seconds on one core."""
    from advkd.features import ClassifierSpec, train_classifier

    spec, accuracy = ClassifierSpec(), 0.0
    with progress() as report:
        for epoch in train_classifier(spec, out):
            accuracy = epoch.accuracy
            report("classifier", epoch.epoch, spec.epochs, f"held-out accuracy {accuracy:.3f}")
    typer.echo(json.dumps({"uri": str(out), "accuracy": accuracy}) if as_json else str(out))


@app.command("reference")
def reference_command(
    out: Annotated[Path, typer.Option(help="Folder for the .npz file, named by its digest.")],
    root: Annotated[
        str, typer.Option(help="Where what is computed so far lies, from which the command goes on.")
    ] = "runs",
    teacher: Annotated[str, typer.Option(help="Embedded teacher.")] = "digits",
    samples: Annotated[int, typer.Option(help="Noises, as many as an evaluation takes.")] = 2048,
    seed: Annotated[int, typer.Option(help="Of the noises, as an evaluation takes it.")] = 0,
    features: Annotated[str, typer.Option(help="The extractor; auto: digits.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Compute the shipped reference of a teacher, its curve and its target: takes an hour on a CPU."""
    from advkd.evaluation import ship_reference

    with progress() as report:
        made = ship_reference(
            teacher,
            features,
            root=root,
            seed=seed,
            samples=samples,
            folder=out,
            progress=lambda done, total: report("passes", done, total),
        )
    typer.echo(json.dumps({"uri": str(made)}) if as_json else str(made))
