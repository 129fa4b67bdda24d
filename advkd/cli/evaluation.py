"""`advkd evaluation`: statistics of real images; rebuild the shipped files of evaluation. Parses, calls, prints."""

import json
from pathlib import Path
from typing import Annotated

import typer

from advkd.runtime import progress

app = typer.Typer(
    name="evaluation", help="Statistics of real images, and the shipped files of evaluation.", no_args_is_help=True
)


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


@app.command("statistics")
def statistics_command(
    real: Annotated[str, typer.Argument(metavar="IMAGES", help="Folder, zip, tars or Parquet of pictures, or digits.")],
    teacher: Annotated[str, typer.Option(help="Teacher whose images they are compared with: gives their shape.")],
    out: Annotated[str, typer.Option(help=".npz file to write, at a path or URI.")],
    features: Annotated[str, typer.Option(help="The extractor; auto: digits for our own, else teacher.")] = "auto",
    weights: Annotated[str | None, typer.Option(help="Its weights, where it looks for some.")] = None,
    root: Annotated[str, typer.Option(help="Root URI; features are cached in real/ below.")] = "runs",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out pictures that cannot be read.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Write the statistics of real images (mu, sigma) as pytorch-fid does: `advkd evaluate --real FILE` reads them."""
    from advkd.distances import write_statistics
    from advkd.features import chosen_features
    from advkd.images import real_features
    from advkd.teachers import load_teacher

    loaded = load_teacher(teacher)
    extractors = chosen_features(features, loaded, weights=weights)
    if len(extractors) != 1:
        raise ValueError(f"statistics are of one extractor's features, got {len(extractors)} by {features!r}; name one")
    with progress() as report:
        made = real_features(
            real,
            extractors[0],
            loaded.space.image_shape,
            root,
            lambda done, total: report("images", done, total),
            skip_bad=skip_bad,
        )
    write_statistics(out, made.moments)
    told = {"uri": out, "images": made.count, "extractor": extractors[0].name, "sha256": extractors[0].sha256}
    typer.echo(json.dumps(told) if as_json else out)
