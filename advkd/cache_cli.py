"""`advkd cache ls|show|verify|repair`: what stores there are, what one holds, whether it is intact, and mending it.

For people: tables on stdout, progress on stderr; for machines: `--json` on stdout instead. The URI is the last line
of the people's stdout. Anything wrong ends with exit code 1 and a message of rule, fact and remedy.
"""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from advkd.cache_output import AsJson, Uri, clear_errors, print_json, stdout
from storage import (
    Manifest,
    StoreError,
    StoreNotFoundError,
    StoreSummary,
    TrajectorySpec,
    digest,
    list_stores,
    open_store,
    summarize,
    verify,
)

app = typer.Typer(name="cache", help="Look at trajectory stores and check them.", no_args_is_help=True)


@app.command("ls")
def list_command(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="Where stores live: a folder or s3://bucket/prefix.")],
    as_json: AsJson = False,
) -> None:
    """List the stores below a root, sealed or growing, with samples, shards and size in MiB."""
    with clear_errors():
        stores = list_stores(root)
        if as_json:
            print_json([_summary_json(one) for one in stores])
            return
        table = Table("state", "teacher", "sampler", "samples", "shards", "MiB", "layout", "URI", box=None)
        for one in stores:
            spec = one.spec
            names = (spec.teacher, _sampler(spec), spec.layout) if spec else ("?", one.problem or "?", "?")
            size = "-" if one.total_bytes is None else f"{one.total_bytes / 2**20:.1f}"
            table.add_row(
                one.state, names[0], names[1], str(one.num_samples), str(one.num_shards), size, names[2], one.uri
            )
        stdout().print(table if stores else f"no stores below {root}")
        typer.echo(root)


@app.command("show")
def show_command(uri: Uri, as_json: AsJson = False) -> None:
    """Print everything that is known about a store: teacher, sampler, grid, seed, counts, bytes, statistics."""
    with clear_errors():
        summary = summarize(uri)
        if summary is None:
            open_store(uri)
            raise StoreNotFoundError(f"a store is a folder with a manifest.json, but {uri} holds none; check the URI")
        if summary.spec is None:
            raise StoreError(summary.problem or f"{uri} cannot be read")
        manifest = open_store(uri).manifest if summary.state == "sealed" else None
        if as_json:
            print_json(_summary_json(summary) | _manifest_json(manifest))
            return
        console = stdout()
        console.print(_facts(summary, summary.spec, manifest))
        console.print(_grid(summary.spec, manifest))
        typer.echo(uri)


@app.command("verify")
def verify_command(uri: Uri, as_json: AsJson = False) -> None:
    """Read every object of a store and compare size and sha256; exit code 1 if one is not what was committed."""
    with clear_errors():
        columns = (TextColumn("checking shards"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("verify", total=None)
            problems = verify(uri, progress=lambda done, total: progress.update(task, completed=done, total=total))
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
    from advkd.progress import progress
    from advkd.repair import repair

    with clear_errors(), progress() as report:
        found = repair(uri, teacher, device, lambda done, total: report("trajectories", done, total))
    if as_json:
        print_json({"uri": uri, "shards": list(found.shards), "metadata": found.metadata})
        return
    typer.echo(f"recomputed shards {list(found.shards)}" if found.shards or found.metadata else "nothing to repair")
    typer.echo(uri)


def _sampler(spec: TrajectorySpec) -> str:
    return f"{spec.sampler}, {spec.solver_steps} steps"


def _summary_json(one: StoreSummary) -> dict[str, Any]:
    return {
        "uri": one.uri,
        "state": one.state,
        "digest": digest(one.spec) if one.spec else None,
        "spec": one.spec.to_json() if one.spec else None,
        "num_samples": one.num_samples,
        "num_shards": one.num_shards,
        "bytes": one.total_bytes,
        "problem": one.problem,
    }


def _manifest_json(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {}
    return {
        "statistics": {str(t): values.to_json() for t, values in manifest.statistics.items()},
        "elapsed_seconds": manifest.elapsed_seconds,
        "writer": manifest.writer,
        "created": manifest.created,
        "sealed": manifest.sealed,
    }


def _facts(summary: StoreSummary, spec: TrajectorySpec, manifest: Manifest | None) -> Table:
    kind = "ODE (deterministic)" if spec.deterministic else "SDE (stochastic)"
    guidance = "none" if spec.guidance_scale is None else f"{spec.guidance_scale:g}"
    rows = {
        "state": summary.state,
        "digest": digest(spec),
        "teacher": spec.teacher,
        "fingerprint": spec.fingerprint,
        "sampler": f"{_sampler(spec)}, {kind}",
        "sampler config": json.dumps(spec.sampler_config, sort_keys=True),
        "conditioning": "none" if spec.conditioning is None else json.dumps(spec.conditioning, sort_keys=True),
        "guidance scale": guidance,
        "base seed": str(spec.base_seed),
        "sample shape": f"{list(spec.sample_shape)} (C, H, W), {spec.dtype}",
        "layout": f"{spec.layout}, {spec.shard_samples} samples per shard, {spec.block_samples} per block",
        "samples": str(summary.num_samples),
        "shards": str(summary.num_shards),
    }
    if manifest is not None:
        rows |= {
            "bytes": f"{manifest.total_bytes} ({manifest.total_bytes / 2**20:.1f} MiB)",
            "computed in": f"{manifest.elapsed_seconds:.1f} s, summed over shards",
            "created": manifest.created,
            "last sealed": manifest.sealed,
            "writer": manifest.writer,
        }
    table = Table(box=None, show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _grid(spec: TrajectorySpec, manifest: Manifest | None) -> Table:
    table = Table("timestep", "a_t", "s_t", "mean", "std", "min", "max", box=None)
    for t, signal, sigma in zip(spec.timesteps, spec.signal, spec.sigma, strict=True):
        found = manifest.statistics[t] if manifest else None
        values = (found.mean, found.std, found.min, found.max) if found else ()
        table.add_row(str(t), f"{signal:.6f}", f"{sigma:.6f}", *(f"{value:.4f}" for value in values))
    return table
