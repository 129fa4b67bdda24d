"""`advkd cache ls|show|verify|repair|gc|convert|plan|rm`: lists, shows and maintains trajectory stores.

Prints tables on stdout and progress on stderr; the last line of stdout is the URI. With `--json`, stdout is JSON
instead. An error ends the command with exit code 1 and one line of rule, fact and remedy.
"""

from typing import Annotated

import typer

from advkd.cli.cache_care import convert_command, gc_command, rm_command
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

app = typer.Typer(name="cache", help="Show trajectory stores and maintain them.", no_args_is_help=True)


@app.command("ls")
def list_command(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="Where stores live: a folder or s3://bucket/prefix.")],
    as_json: AsJson = False,
) -> None:
    """List the stores below a root, sealed or growing, with their samples, shards, size and age."""
    with clear_errors():
        stores = list_stores(root)
        facts = [(store, *size_and_time(store)) for store in stores]
        if as_json:
            print_json([summary_json(store) | {"bytes": size, "written": written} for store, size, written in facts])
            return
        table = columns("state", "teacher", "sampler", "layout", "samples", "shards", "size", "age", "URI", left=4)
        table.columns[-1].justify = "left"
        for store, size, written in facts:
            spec = store.spec
            names = (spec.teacher, f"{spec.sampler}, {spec.solver_steps} steps", spec.layout) if spec else ("?",) * 3
            counts = (f"{store.num_samples:,}", f"{store.num_shards:,}", "-" if size is None else size_text(size))
            table.add_row(store.state, *names, *counts, age_text(written), store.uri)
        stdout().print(table if stores else f"no stores below {root}")
        for store in stores:
            if store.problem is not None:
                typer.echo(f"unreadable: {store.problem}", err=True)
        typer.echo(root)


@app.command("show")
def show_command(uri: Uri, as_json: AsJson = False) -> None:
    """Print all facts of a store: teacher, sampler, grid, seed, counts, bytes, statistics, origin."""
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
        growth = None if manifest else measure_growth(uri, spec)
        if as_json:
            more = manifest_json(manifest, extension) if manifest else growth_json(growth) if growth else {}
            print_json(summary_json(summary) | more)
            return
        console = stdout()
        console.print(facts_table(summary, spec, manifest, extension, growth))
        console.print()
        console.print(grid_table(spec))
        if manifest is not None:
            console.print()
            console.print(statistics_table(manifest))
        typer.echo(uri)


@app.command("verify")
def verify_command(uri: Uri, as_json: AsJson = False) -> None:
    """Read every object of a store and check its size and sha256; exit code 1 if any has changed since its commit."""
    with clear_errors():
        with progress() as report:
            problems = verify(uri, progress=lambda done, total: report("shards checked", done, total))
        if as_json:
            listed = [
                {"shard": problem.shard, "key": problem.key, "expected": problem.expected, "found": problem.found}
                for problem in problems
            ]
            print_json({"uri": uri, "ok": not problems, "problems": listed})
        else:
            for problem in problems:
                typer.echo(problem.message, err=True)
            shards = {problem.shard for problem in problems}
            typer.echo("every object is what was committed" if not problems else f"damaged: {len(shards)} shard(s)")
            typer.echo(uri)
        if problems:
            raise typer.Exit(1)


@app.command("repair")
def repair_command(
    uri: Uri,
    teacher: Annotated[str | None, typer.Option(help="The store's teacher, if not an embedded one.")] = None,
    device: Annotated[str, typer.Option(help="torch device of the teacher: cpu or cuda.")] = "cpu",
    micro_batch: Annotated[int | None, typer.Option(help="As precompute had it; default: chosen as there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compute only the damaged shards of a store again; needs the teacher that the store was computed with."""
    from advkd.trajectories import repair

    with clear_errors(), progress() as report:
        repaired = repair(uri, teacher, device, lambda done, total: report("trajectories", done, total), micro_batch)
    if as_json:
        print_json({"uri": uri, "shards": list(repaired.shards), "metadata": repaired.metadata})
        return
    typer.echo(
        f"recomputed shards {list(repaired.shards)}" if repaired.shards or repaired.metadata else "nothing to repair"
    )
    typer.echo(uri)


app.command("gc")(gc_command)
app.command("convert")(convert_command)
app.command("rm")(rm_command)
