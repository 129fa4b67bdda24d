"""`advkd demo STUDENT`: a student in this machine's browser. The address is the last line of stdout."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from advkd.cli.page_app import is_page, page_app
from advkd.cli.serving import listening, serve
from advkd.text import clear_errors

HOST = "127.0.0.1"


def demo_command(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT",
            help="A page that was exported with --format web, or a student to make one of: folder, s3://bucket/prefix "
            "or models:/NAME@champion.",
        ),
    ],
    teacher: Annotated[
        str | None, typer.Option(help="The student's teacher, whose images are shown beside its own.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="onnxruntime-web as npm packs it, or as a folder. Default: npm fetches it.")
    ] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    runs: Annotated[str, typer.Option(help="Folder of the registry, unless MLFLOW_TRACKING_URI is set.")] = "runs",
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Show a student in a browser, which makes its images itself; only this machine can see it. Ctrl-C ends it."""
    with clear_errors(), ExitStack() as kept:
        # Before a student is exported, which takes a while.
        listener = kept.enter_context(listening(HOST, port, "advkd demo"))
        folder = Path(student)
        if not is_page(folder):
            from advkd.files import scratch_folder

            folder = kept.enter_context(scratch_folder()) / "page"
            _export(student, folder, teacher, runtime, runs)
        serve(page_app(folder), listener, HOST, open_browser=not no_open)


def _export(student: str, out: Path, teacher: str | None, runtime: str | None, runs: str) -> None:
    from advkd.export import ExportSpec, export_student
    from advkd.registry import student_place

    typer.echo("making the page", err=True)
    # Costs are not shown, and a figure for each would take minutes.
    spec = ExportSpec(
        student=student_place(student, runs),
        out=str(out),
        format="web",
        runtime=runtime,
        beside=teacher,
        seconds=0.0,
        memory=False,
    )
    export_student(spec)
