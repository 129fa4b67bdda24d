"""`advkd teacher`: show a teacher, and train the embedded one."""

import json
from pathlib import Path
from typing import Annotated

import typer

from advkd.runtime import progress
from advkd.teachers import AUTO, SOLVERS, SolverSpec, Teacher, fitting_solver, load_teacher
from advkd.text import replaced_text

app = typer.Typer(name="teacher", help="Look at teachers, and train the embedded one.", no_args_is_help=True)


@app.command("show")
def show_command(
    source: Annotated[str, typer.Argument(metavar="TEACHER", help="Embedded name, folder, s3:// URI or hub id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Print a teacher's name, fingerprint and shape, which are part of a store's identity, and its solvers."""
    teacher = load_teacher(source)
    solvers = _solvers(teacher)
    facts = {
        "name": teacher.name,
        "fingerprint": teacher.fingerprint,
        "sample_shape": list(teacher.space.shape),
        "train_timesteps": teacher.grid(fitting_solver(SolverSpec(kind=AUTO, steps=1), teacher)).labels[0] + 1,
        "solvers": solvers if as_json else "; ".join(f"{kind} ({text})" if text else kind for kind, text in solvers),
    }
    typer.echo(json.dumps(facts) if as_json else "\n".join(f"{name}: {value}" for name, value in facts.items()))


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


@app.command("train-digits")
def train_digits_command(
    out: Annotated[Path, typer.Option(help="Folder for the DDPMPipeline.")],
    images: Annotated[int | None, typer.Option(help="Training images seen; default: the embedded teacher's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and noise.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train the embedded digits teacher: takes about half an hour on one core of a recent CPU."""
    from advkd.teachers.digits import DigitsTeacherSpec, train_digits

    spec = DigitsTeacherSpec(seed=seed) if images is None else DigitsTeacherSpec(seed=seed, images=images)
    with progress() as report:
        for step in train_digits(spec, out):
            report("teacher", step.images, spec.images, f"loss {step.loss:.4f}")
    typer.echo(json.dumps({"uri": str(out), "images": spec.images}) if as_json else str(out))
