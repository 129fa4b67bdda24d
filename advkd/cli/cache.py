"""`advkd cache ls|show|verify|repair|gc|convert|plan|rm`: what stores there are, what one holds, and all their care.

For people: tables on stdout, progress on stderr; for machines: `--json` on stdout instead. The URI is the last line
of the people's stdout. Anything wrong ends with exit code 1 and one line of rule, fact and remedy.
"""

from typing import Annotated

import typer

from advkd.cli.cache_care import convert_command, gc_command, rm_command
from advkd.cli.cache_plan import plan_command
from advkd.runtime import progress
from advkd.text import (
    AsJson,
    Uri,
    age_text,
    clear_errors,
    columns,
    facts_table,
    grid_table,
    growth_json,
    manifest_json,
    print_json,
    size_and_time,
    size_text,
    statistics_table,
    stdout,
    summary_json,
)
from storage import (
    StoreError,
    StoreNotFoundError,
    list_stores,
    measure_growth,
    open_store,
    summarize,
    verify,
)
from storage.records import committed_shards

app = typer.Typer(name="cache", help="Look at trajectory stores and take care of them.", no_args_is_help=True)


@app.command("ls")
def list_command(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="Where stores live: a folder or s3://bucket/prefix.")],
    as_json: AsJson = False,
) -> None:
    """List the stores below a root, sealed or growing, with their samples, shards, size and age."""
    with clear_errors():
        stores = list_stores(root)
        facts = [(one, *size_and_time(one)) for one in stores]
        if as_json:
            print_json([summary_json(one) | {"bytes": size, "written": written} for one, size, written in facts])
            return
        table = columns("state", "teacher", "sampler", "layout", "samples", "shards", "size", "age", "URI", left=4)
        table.columns[-1].justify = "left"
        for one, size, written in facts:
            spec = one.spec
            names = (spec.teacher, f"{spec.sampler}, {spec.solver_steps} steps", spec.layout) if spec else ("?",) * 3
            counts = (f"{one.num_samples:,}", f"{one.num_shards:,}", "-" if size is None else size_text(size))
            table.add_row(one.state, *names, *counts, age_text(written), one.uri)
        stdout().print(table if stores else f"no stores below {root}")
        for one in stores:
            if one.problem is not None:
                typer.echo(f"unreadable: {one.problem}", err=True)
        typer.echo(root)


@app.command("show")
def show_command(uri: Uri, as_json: AsJson = False) -> None:
    """Print everything that is known about a store: teacher, sampler, grid, seed, counts, bytes, statistics, origin."""
    with clear_errors():
        summary = summarize(uri)
        if summary is None:
            open_store(uri)
            raise StoreNotFoundError(f"a store is a folder with a manifest.json, but {uri} holds none; check the URI")
        spec = summary.spec
        if spec is None:
            raise StoreError(summary.problem or f"{uri} cannot be read")
        manifest = open_store(uri).manifest if summary.state == "sealed" else None
        extension = len(committed_shards(uri, after=manifest.num_shards - 1)) if manifest else 0
        found = None if manifest else measure_growth(uri, spec)
        if as_json:
            more = manifest_json(manifest, extension) if manifest else growth_json(found) if found else {}
            print_json(summary_json(summary) | more)
            return
        console = stdout()
        console.print(facts_table(summary, spec, manifest, extension, found))
        console.print()
        console.print(grid_table(spec))
        if manifest is not None:
            console.print()
            console.print(statistics_table(manifest))
        typer.echo(uri)


@app.command("verify")
def verify_command(uri: Uri, as_json: AsJson = False) -> None:
    """Read every object of a store and compare size and sha256; exit code 1 if one is not what was committed."""
    with clear_errors():
        with progress() as report:
            problems = verify(uri, progress=lambda done, total: report("shards checked", done, total))
        if as_json:
            listed = [
                {"shard": one.shard, "key": one.key, "expected": one.expected, "found": one.found} for one in problems
            ]
            print_json({"uri": uri, "ok": not problems, "problems": listed})
        else:
            for one in problems:
                typer.echo(one.message, err=True)
            shards = {one.shard for one in problems}
            typer.echo("every object is what was committed" if not problems else f"damaged: {len(shards)} shard(s)")
            typer.echo(uri)
        if problems:
            raise typer.Exit(1)


@app.command("repair")
def repair_command(
    uri: Uri,
    teacher: Annotated[str | None, typer.Option(help="The store's teacher, if not an embedded one.")] = None,
    device: Annotated[str, typer.Option(help="torch device of the teacher: cpu or cuda.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Compute the damaged shards of a store again, those alone; the teacher must be the one it was computed with."""
    from advkd.trajectories import repair

    with clear_errors(), progress() as report:
        found = repair(uri, teacher, device, lambda done, total: report("trajectories", done, total))
    if as_json:
        print_json({"uri": uri, "shards": list(found.shards), "metadata": found.metadata})
        return
    typer.echo(f"recomputed shards {list(found.shards)}" if found.shards or found.metadata else "nothing to repair")
    typer.echo(uri)


app.command("gc")(gc_command)
app.command("convert")(convert_command)
app.command("plan")(plan_command)
app.command("rm")(rm_command)
