"""`advkd evaluate`: compare one or several students with their teacher. Parses, calls, prints."""

from typing import Annotated

import typer

from advkd.cli.result import AsJson, tell
from advkd.cli.students import Device, Runs
from advkd.runtime import progress
from storage import join


def evaluate_command(
    students: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDENT...",
            help="Folder or URI made by `advkd train`, or a registered student: models:/NAME@champion; several make "
            "one table and one page.",
        ),
    ],
    teacher: Annotated[str, typer.Option(help="Embedded name, folder, s3:// URI or hub id.")],
    out: Annotated[str, typer.Option(help="Folder or URI for report.html and metrics.json.")],
    references: Annotated[str, typer.Option(help="Root URI; teacher curves are cached in references/ below.")] = "runs",
    samples: Annotated[int, typer.Option(help="Images of student and teacher each; 2000 or more for a worth.")] = 2048,
    solver: Annotated[
        str | None,
        typer.Option(help="Solver of the submodules' targets; default: the first that fits, from ddim on."),
    ] = None,
    solver_steps: Annotated[
        int | None, typer.Option(help="Its steps; default: the fewest from 20 on that pass through the timesteps.")
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            help="Extractors of distances, with commas between them: digits, teacher, inception, dinov2, clip, "
            "efficientnet-lite0, package.module:factory, or a file; auto: digits for our own, else teacher; none."
        ),
    ] = "auto",
    weights: Annotated[
        str | None, typer.Option(help="Weights of an extractor that looks for some: file, folder or hub id.")
    ] = None,
    real: Annotated[
        str | None,
        typer.Option(help="Real images: a folder, zip, tars, Parquet, npz of statistics, or digits. Default: none."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out real pictures that cannot be read, and count them.")
    ] = False,
    classes: Annotated[
        str | None, typer.Option(help="Classes that the page shows, with commas between them; default: the farthest.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Base seed of the noises.")] = 0,
    runs: Runs = "runs",
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Compare students with their teacher and write a report: distances, worth in teacher passes, cost."""
    from advkd.evaluation import REPORT, EvaluateSpec, evaluate, evaluate_several, worth_sentence
    from advkd.registry import student_place

    places = [student_place(student, runs) for student in students]
    spec = EvaluateSpec(
        student=places[0],
        teacher=teacher,
        out=out,
        references=references,
        solver=solver,
        solver_steps=solver_steps,
        features=features,
        weights=weights,
        real=real,
        skip_bad=skip_bad,
        classes=tuple(name.strip() for name in (classes or "").split(",") if name.strip()),
        samples=samples,
        seed=seed,
        device=device,
    )
    with progress() as report:
        if len(places) > 1:
            compared = evaluate_several(spec, places, report)
            nearest, place, summary = compared.sentence, join(out, "comparison", REPORT), compared.summary()
        else:
            result = evaluate(spec, report)
            nearest, place, summary = (
                worth_sentence(result.worth, result.not_comparable),
                join(out, REPORT),
                result.summary(),
            )
    tell(nearest, place, summary, as_json)
