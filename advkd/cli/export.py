"""`advkd export`: writes a student in a form that runs elsewhere."""

from typing import Annotated

import typer

from advkd.cli.result import AsJson, tell

Runs = Annotated[str, typer.Option(help="Folder of the registry, unless MLFLOW_TRACKING_URI is set.")]


def export_command(
    student: Annotated[
        str, typer.Argument(metavar="STUDENT", help="A student: folder, s3://bucket/prefix or models:/NAME@champion.")
    ],
    out: Annotated[str, typer.Option(help="Folder or URI to write it to.")],
    form: Annotated[
        str, typer.Option("--format", help="onnx, web, diffusers, executorch, or one that an installed package adds.")
    ] = "onnx",
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, fp16 or int8; give more for a file of each. Default: fp32.")
    ] = None,
    states: Annotated[bool, typer.Option(help="Give the states that all submodules predict, besides images.")] = False,
    teacher: Annotated[
        str | None, typer.Option(help="The student's teacher: distances to it and its cost are measured beside it.")
    ] = None,
    references: Annotated[str, typer.Option(help="Root of the teacher's references, as of `advkd evaluate`.")] = "runs",
    features: Annotated[str, typer.Option(help="Extractors, as of `advkd evaluate`; the first one counts.")] = "auto",
    weights: Annotated[str | None, typer.Option(help="Weights of an extractor, as of `advkd evaluate`.")] = None,
    report: Annotated[
        str | None, typer.Option(help="Folder or URI of the student's evaluation: costs are added to its page.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="Of --format web: onnxruntime-web as npm packs it, or as a folder. Default: npm fetches it."),
    ] = None,
    runs: Runs = "runs",
    as_json: AsJson = False,
) -> None:
    """Write a student in a form that runs without this package, compared with it on 256 noises before."""
    from advkd.export import ExportSpec, cost_lines, export_student, read_cost
    from advkd.registry import student_place

    spec = ExportSpec(
        student=student_place(student, runs),
        out=out,
        format=form,
        precisions=tuple(precision or ("fp32",)),
        states=states,
        teacher=teacher,
        references=references,
        features=features,
        weights=weights,
        report=report,
        runtime=runtime,
    )
    uri = export_student(spec)
    cost = read_cost(uri)
    if not as_json and cost is not None:
        for line in cost_lines(cost):
            typer.echo(line)
    tell(f"student exported as {form}", uri, {"format": form, "precisions": spec.precisions}, as_json)
