"""`advkd cache plan`: bytes, requests and costs of a precompute with the same options. Parses, calls, prints."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advkd.cli.precompute_options import takes_precompute_options
from advkd.presets import DEFAULT_PRESET, PRESETS, fitted_window
from advkd.teachers import Teacher
from advkd.text import (
    AsJson,
    billed_text,
    clear_errors,
    columns,
    duration_text,
    facts,
    grid_table,
    print_json,
    replaced_text,
    size_text,
    stdout,
)
from advkd.trajectories import (
    CachePlan,
    PrecomputeSpec,
    Prices,
    Requests,
    TeacherCost,
    UnseenTeacher,
    cached_teacher,
    measure_teacher,
    plan_cache,
    sample_passes,
    trajectory_spec,
)
from storage import store_uri

if TYPE_CHECKING:
    from advkd.evaluation import ReferencePlan

Price = Annotated[float | None, typer.Option(help="Price of the provider in USD; default: no costs are shown.")]


@takes_precompute_options
def plan_command(
    spec: PrecomputeSpec,
    shape: Annotated[
        str | None,
        typer.Option(help="CxHxW of a state, as 3x256x256: plan without a teacher, at any scale.", metavar="CxHxW"),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that compute a shard each at the same time.")] = 1,
    passes_per_second: Annotated[
        float | None,
        typer.Option(help="Samples through the teacher's network per second and worker, to estimate the time."),
    ] = None,
    usd_per_1000_puts: Price = None,
    usd_per_1000_gets: Price = None,
    usd_per_gb_month: Price = None,
    usd_per_gb_read: Price = None,
    usd_per_worker_hour: Price = None,
    as_json: AsJson = False,
) -> None:
    """Show what a precompute would make and cost, before you run it: shards, bytes, requests, passes, time.

    Takes the options of `advkd precompute`. Loads the teacher and measures its passes' memory, or plans without it with
    --shape; neither reads nor writes the store.
    """
    with clear_errors():
        teacher = (
            cached_teacher(spec.teacher, spec.device, spec.precision)
            if shape is None
            else UnseenTeacher.of(shape, spec.teacher)
        )
        identity = trajectory_spec(spec, teacher)
        prices = _prices(
            thousand_puts=usd_per_1000_puts,
            thousand_gets=usd_per_1000_gets,
            gigabyte_month=usd_per_gb_month,
            gigabyte_read=usd_per_gb_read,
            worker_hour=usd_per_worker_hour,
        )
        plan = plan_cache(identity, spec.samples, workers=workers, passes_per_second=passes_per_second, prices=prices)
        cost = measure_teacher(teacher, identity, spec.micro_batch) if shape is None else None
        reference = None if shape is not None else _reference(teacher)
        windows = {name: _window(fitted_window(chosen, identity), plan) for name, chosen in PRESETS.items()}
        # The store's name depends on the teacher's fingerprint, which is unknown with --shape.
        uri = store_uri(spec.store, identity) if shape is None else spec.store
        if as_json:
            measured = None if cost is None else asdict(cost)
            planned = None if reference is None else asdict(reference)
            besides = {"teacher": measured, "window_bytes": windows, "reference": planned}
            print_json({"uri": uri, **_plan_json(plan), **besides})
            return
        console = stdout()
        console.print(_facts(plan, cost, windows, reference))
        console.print()
        console.print(grid_table(plan.spec))
        console.print()
        console.print(_requests(plan))
        for warning in plan.warnings:
            console.print(f"warning: {warning}", style="yellow", markup=False)
        typer.echo(uri)


def _prices(**given: float | None) -> Prices | None:
    known = {name: value for name, value in given.items() if value is not None}
    return Prices(**known) if known else None


def _plan_json(plan: CachePlan) -> dict[str, Any]:
    values = {name: value for name, value in vars(plan).items() if name not in ("spec", "costs")}
    for name, value in values.items():
        if isinstance(value, Requests):
            values[name] = asdict(value)
    costs = asdict(plan.costs) if plan.costs else None
    return values | {"total_objects": plan.total_objects, "costs": costs, "spec": plan.spec.to_json()}


def _window(shards: int, plan: CachePlan) -> int:
    """Returns the memory of a run's reader: the window in use, and the one that is read meanwhile."""
    return 2 * min(shards, plan.num_shards) * plan.shard_bytes


def _teacher_rows(plan: CachePlan, cost: TeacherCost) -> dict[str, str]:
    chosen = cost.micro_batch
    measured = ", as asked for"
    if chosen.sample_bytes:
        measured = (
            f": a pass takes {size_text(chosen.bytes)}, {size_text(chosen.sample_bytes)} per sample measured, of "
            f"{size_text(chosen.allowed_bytes)} for each worker"
        )
    rows = {"micro-batch": f"{chosen.samples} of a block of {chosen.batch}{measured}"}
    if cost.decoder is not None:
        images = 2 * PRESETS[DEFAULT_PRESET].evaluation_samples
        rows["decoder"] = (
            f"{cost.decoder.kind}, {size_text(cost.decoder.bytes)}, kept once below the root; "
            f"{duration_text(images * cost.decoder.seconds)} to decode the {images:,} images of an evaluation"
        )
    return rows


def _reference(teacher: Teacher) -> "ReferencePlan":
    """Returns what the reference of the evaluation takes by the preset of `distill`."""
    from advkd.evaluation import plan_reference
    from advkd.features import AUTO, chosen_features

    return plan_reference(teacher, chosen_features(AUTO, teacher), PRESETS[DEFAULT_PRESET].evaluation_samples)


def _reference_text(reference: "ReferencePlan") -> str:
    if not reference.passes:
        return f"the curve of {reference.samples:,} images is there"
    return (
        f"{reference.passes:,} network passes for the curve of {reference.samples:,} images, once per teacher: "
        f"{duration_text(reference.seconds)} of one thread, as measured on a few"
    )


def _facts(
    plan: CachePlan,
    cost: TeacherCost | None,
    windows: Mapping[str, int],
    reference: "ReferencePlan | None",
) -> Any:
    spec, costs = plan.spec, plan.costs
    hidden = plan.computed_samples - plan.num_samples
    rows = {
        "samples": f"{plan.num_samples:,}" + (f", and {hidden:,} that fill the last shard" if hidden else ""),
        "sampler": f"{spec.sampler}, {spec.solver_steps} steps: {plan.passes:,} network passes"
        + (", two per step under guidance" if sample_passes(spec) > spec.solver_steps else ""),
        **({"solver": replaced} if (replaced := replaced_text(spec.sampler_config)) else {}),
        "layout": f"{spec.layout}, {spec.shard_samples} samples per shard, {spec.block_samples} per block",
        "shards": f"{plan.num_shards:,} of {billed_text(plan.shard_bytes)}",
        "bytes": f"{billed_text(plan.data_bytes)} ({plan.data_bytes:,}), states {spec.trajectory_bytes:,} per sample",
        "objects": f"{plan.data_objects:,} of data, the largest {billed_text(plan.largest_object)}; "
        f"{plan.records + plan.metadata_objects:,} of records, index and metadata",
    }
    rows |= {} if cost is None else _teacher_rows(plan, cost)
    rows |= {} if reference is None else {"reference": _reference_text(reference)}
    rows["memory"] = (
        f"up to {size_text(plan.writing_bytes)} for shards of one process with {plan.workers} worker(s); for training, "
        + ", ".join(f"{size_text(held)} ({name})" for name, held in windows.items())
    )
    if plan.worker_seconds is not None and plan.wall_seconds is not None:
        rows["time"] = (
            f"{duration_text(plan.wall_seconds)} on {plan.workers:,} worker(s), "
            f"{duration_text(plan.worker_seconds)} of work in all"
        )
    if costs is not None:
        compute = f"{_usd(costs.compute)} for workers, " if costs.compute else ""
        rows["USD"] = (
            f"{compute}{_usd(costs.making)} for requests, {_usd(costs.month)} per month, {_usd(costs.epoch)} per epoch"
        )
    return facts(rows)


def _usd(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:.2g}"


def _requests(plan: CachePlan) -> Any:
    table = columns("requests to", "PUT", "GET, HEAD", "LIST", "read")
    rows = {
        "precompute": (plan.precompute, 0),
        "seal": (plan.seal, 0),
        "open the store": (plan.open, 0),
        "read an epoch": (plan.epoch, plan.epoch_bytes),
    }
    for name, (requests, read) in rows.items():
        table.add_row(
            name, f"{requests.put:,}", f"{requests.get:,}", f"{requests.list:,}", billed_text(read) if read else "-"
        )
    return table
