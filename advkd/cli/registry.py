"""`advkd registry ls|show|promote|rollback|diff|publish`: lists registered students and moves the champion by hand.

Prints tables for people, or JSON with `--json`. An error ends the command with exit code 1 and one line of rule, fact
and remedy.
"""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from advkd.text import AsJson, clear_errors, columns, facts, print_json, size_text, stdout

app = typer.Typer(
    name="registry", help="Show registered students, move the champion, and publish versions.", no_args_is_help=True
)

Runs = Annotated[
    str, typer.Option(help="The flow's root, which holds mlflow.db; ignored if MLFLOW_TRACKING_URI is set.")
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Registered name, as advkd-digits.")]
Which = Annotated[str, typer.Argument(metavar="VERSION", help="Number of a version, champion or challenger.")]


@app.command("ls")
def list_command(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Only this one.")] = None,
    runs: Runs = "runs",
    as_json: AsJson = False,
) -> None:
    """List models and their versions: alias, figures and the gate's verdict."""
    from advkd.registry import models, overview

    with _registry(runs) as client:
        versions = [version for name in models(client, model) for version in overview(client, name)]
    if as_json:
        print_json([version.as_json() for version in versions])
        return
    table = columns("model", "version", "state", "FD", "recall", "teacher", "gate", left=1)
    for column in (table.columns[2], *table.columns[5:]):
        column.justify = "left"
    for version in versions:
        table.add_row(
            version.name,
            str(version.version),
            version.state,
            version.text("fd"),
            version.text("recall"),
            version.teacher,
            version.gate,
        )
    stdout().print(table if versions else f"no registered models in {runs}")


@app.command("show")
def show_command(model: Model, version: Which = "champion", runs: Runs = "runs", as_json: AsJson = False) -> None:
    """Print everything that is recorded on a version: figures, lineage, gate, promotions, place."""
    from advkd.registry import details

    with _registry(runs) as client:
        known = details(client, model, version)
    if as_json:
        print_json(known)
        return
    stdout().print(facts({name: str(value) for name, value in _flat(known).items() if value not in (None, "")}))
    typer.echo(known["uri"])


@app.command("promote")
def promote_command(
    model: Model,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Number of a version.")],
    runs: Runs = "runs",
    as_json: AsJson = False,
) -> None:
    """Make a version champion by hand, whatever the gate decided, even if it was rolled back."""
    from advkd.registry import promote

    with _registry(runs) as client:
        _tell(promote(client, model, version), as_json)


@app.command("rollback")
def rollback_command(
    model: Model,
    why: Annotated[str, typer.Option(help="The reason, recorded on the version that loses the alias.")] = "",
    to: Annotated[int | None, typer.Option(help="Version to return to; default: the champion before.")] = None,
    runs: Runs = "runs",
    as_json: AsJson = False,
) -> None:
    """Make the previous champion champion again; the gate will not promote a version that was rolled back."""
    from advkd.registry import roll_back

    with _registry(runs) as client:
        _tell(roll_back(client, model, why, to), as_json)


@app.command("diff")
def diff_command(
    model: Model,
    version: Which = "champion",
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The version it is compared with.")] = "challenger",
    runs: Runs = "runs",
    as_json: AsJson = False,
) -> None:
    """Compare two versions: differences in figures, lineage and settings, and the gate's verdict on the other."""
    from advkd.registry import difference

    with _registry(runs) as client:
        comparison = difference(client, model, version, other)
    if as_json:
        print_json(comparison)
        return
    table = columns("", version, other, left=3)
    for name, (left, right) in comparison["differs"].items():
        table.add_row(name, *("-" if value is None else str(value) for value in (left, right)))
    stdout().print(
        table if comparison["differs"] else f"{version} and {other} are the same in everything that is recorded"
    )
    typer.echo(f"the gate, {other} against {version}: {comparison['gate']}")


@app.command("publish")
def publish_command(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="models:/NAME@champion, or a folder.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository of the hub.")],
    license: Annotated[str, typer.Option(help="Licence for the card; default: as its teacher's.")] = "",
    base_model: Annotated[str, typer.Option(help="Hub id of the teacher, for the card.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Upload; without it the files are only listed.")] = False,
    runs: Runs = "runs",
    as_json: AsJson = False,
) -> None:
    """Publish a version on the model hub; without --yes, list what would be uploaded."""
    with clear_errors():
        from advkd.registry import answering, publish_version

        with answering():
            files = publish_version(version, repository, runs, license=license, base_model=base_model, upload=yes)
    if as_json:
        print_json({"repository": repository, "uploaded": yes, "files": {file.name: file.size for file in files}})
        return
    table = columns("file", "size", left=1)
    for file in files:
        table.add_row(file.name, size_text(file.size))
    stdout().print(table)
    typer.echo(f"{'uploaded' if yes else 'would upload'} {len(files)} files to https://huggingface.co/{repository}")


@contextlib.contextmanager
def _registry(runs: str) -> Iterator[Any]:
    with clear_errors():
        from advkd.registry import answering, existing_registry, quiet

        with answering(), quiet():
            yield existing_registry(runs)


def _tell(move: Any, as_json: bool) -> None:
    if as_json:
        print_json({"model": move.name, "champion": move.version, "before": move.before})
        return
    before = "there was none" if move.before is None else f"it was version {move.before}"
    if move.before == move.version:
        before = "it was already"
    typer.echo(f"champion of {move.name}: version {move.version} ({before})")


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name, value in nested.items():
        rows |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return rows
