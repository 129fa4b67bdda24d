"""`advkd plan`: what a distillation would do and cost, before anything is spent. Parses, calls, prints."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from advkd.cli.network_options import BatchSize, Blocks, Mirror, Patch, Width, mirror_of
from advkd.foresight import DistillationPlan, plan_distillation
from advkd.presets import DEFAULT_PRESET, Budget, Changes, Target, Wish, preset
from advkd.teachers import Teacher
from advkd.text import AsJson, billed_text, clear_errors, duration_text, facts, print_json, size_text, stdout
from advkd.training import PaperSpec, TrainSpec
from advkd.trajectories import cached_teacher, sample_passes


def plan_command(
    teacher: Annotated[str, typer.Argument(metavar="TEACHER", help="Embedded name, folder, s3:// URI or hub id.")],
    preset_name: Annotated[
        str, typer.Option("--preset", help="Recipe: quick, full, large (GPUs) or paper.")
    ] = DEFAULT_PRESET,
    width: Width = None,
    blocks: Blocks = None,
    patch: Patch = None,
    batch_size: BatchSize = None,
    captures: Annotated[int | None, typer.Option(help="Submodules, and states kept besides the noise.")] = None,
    mirror: Mirror = None,
    max_parameters: Annotated[int | None, typer.Option(help="Upper bound of the student's parameters.")] = None,
    max_passes: Annotated[
        float | None, typer.Option(help="Upper bound of its multiply-adds, in passes of its teacher: 0.25.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time for precompute and training on this machine: 90s, 30m, 1h30m.")
    ] = None,
    device: Annotated[str, typer.Option(help="torch device: cpu or cuda.")] = "cpu",
    root: Annotated[
        str, typer.Option(help="Folder or URI of the output, where a teacher's curve may be already.")
    ] = "runs",
    as_json: AsJson = False,
) -> None:
    """Show what a distillation would do and cost: student, trajectories, parameters, multiply-adds, memory, time.

    Loads the teacher, and counts and times a few passes of it and a few steps of training. The last line is the command
    that does it.
    """
    with clear_errors():
        changes = Changes(
            width=width, blocks=blocks, patch=patch, batch_size=batch_size, captures=captures, mirror=mirror_of(mirror)
        )
        target = Target(max_parameters=max_parameters, max_passes=max_passes)
        wish = Wish(
            preset=preset_name,
            changes=changes,
            target=target,
            budget=None if budget is None else Budget.parse(budget),
            device=device,
        )
        base = replace(preset(preset_name).precompute, teacher=teacher)
        loaded = cached_teacher(teacher, device, base.precision)
        plan = plan_distillation(wish, base, loaded, root)
        command = distill_command(teacher, wish, budget, device, root)
        if as_json:
            print_json({"command": command, **_plan_json(plan, loaded)})
            return
        stdout().print(facts(_rows(plan, loaded, preset_name)))
        typer.echo(command)


def distill_command(teacher: str, wish: Wish, budget: str | None, device: str, root: str) -> str:
    """Returns the line that runs what was planned."""
    options: dict[str, Any] = {"teacher": teacher, "preset": wish.preset}
    for name, value in (("changes", wish.changes), ("target", wish.target)):
        said = {key: setting for key, setting in asdict(value).items() if setting is not None}
        options |= {name: json.dumps(said)} if said else {}
    options |= {} if budget is None else {"budget": budget}
    options |= {} if device == "cpu" else {"device": device}
    options |= {} if root == "runs" else {"root": root}
    return shlex.join(
        [
            "python",
            "-m",
            "flows.distill",
            *(part for name, value in options.items() for part in (f"--{name}", str(value))),
        ]
    )


def _plan_json(plan: DistillationPlan, teacher: Teacher) -> dict[str, Any]:
    return {
        "teacher": {
            "name": teacher.name,
            "shape": list(teacher.space.shape),
            "parameters": plan.teacher_parameters,
            "pass_multiply_adds": plan.pass_multiply_adds,
        },
        "precompute": asdict(plan.choice.precompute),
        "train": asdict(plan.choice.train),
        "store_bytes": plan.cache.data_bytes,
        "passes": plan.cache.passes,
        "student": asdict(plan.student) | {"passes": plan.passes},
        "training_bytes": plan.training_bytes,
        "seconds": {
            "precompute": plan.cache.wall_seconds,
            "train": plan.training_seconds,
            "reference": None if plan.reference is None else plan.reference.seconds / plan.workers,
            "total": plan.seconds,
        },
    }


def _rows(plan: DistillationPlan, teacher: Teacher, preset_name: str) -> dict[str, str]:
    precompute, store, train = plan.choice.precompute, plan.choice.store, plan.choice.train
    guided = ", two per step under guidance" if sample_passes(store) > store.solver_steps else ""
    rows = {
        "teacher": f"{teacher.name}, {_shape(store.sample_shape)}{_condition(store.conditioning)}{_network(plan)}",
        "preset": preset_name,
        "trajectories": f"{precompute.samples:,} of {store.solver_steps} steps of {store.sampler}: "
        f"{plan.cache.passes:,} network passes{guided}; {billed_text(plan.cache.data_bytes)}, "
        f"{_time(plan.cache.wall_seconds)} on {plan.workers} core(s)",
        "student": f"{_student(train)}, {len(train.timesteps or store.timesteps) - 1} submodules",
        "cost": f"{plan.student.parameters:,} parameters{_share(plan.student.parameters, plan.teacher_parameters)}, "
        f"{_millions(plan.student.multiply_adds)} multiply-adds per image"
        + ("" if plan.passes is None else f", {plan.passes:.2g} of a teacher pass"),
        "training": f"{train.samples:,} trajectories seen, {train.samples / precompute.samples:.3g} epochs, batches of "
        f"{train.batch_size}"
        + (f" in {train.accumulate} parts" if train.accumulate > 1 else "")
        + f": {_time(plan.training_seconds)} on {train.device}",
        "memory": f"{size_text(plan.training_bytes)} for a training step and its window of shards, besides weights",
    }
    if plan.reference is not None:
        curve = (
            f"takes {plan.reference.passes:,} passes once, {_time(plan.reference.seconds / plan.workers)}"
            if plan.reference.passes
            else "is there"
        )
        rows["evaluation"] = f"{plan.evaluation_samples:,} images; the teacher's curve {curve}"
    rows["time"] = f"{duration_text(plan.seconds)} in all, as measured on a few passes and steps"
    return rows


def _shape(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def _condition(facts_of: Mapping[str, Any] | None) -> str:
    return "" if facts_of is None else f", with {facts_of['kind'].replace('_', ' ')}"


def _network(plan: DistillationPlan) -> str:
    if plan.teacher_parameters is None or plan.pass_multiply_adds is None:
        return ", no network"
    return (
        f", {_millions(plan.teacher_parameters)} parameters, {_millions(plan.pass_multiply_adds)} multiply-adds a pass"
    )


def _student(train: Any) -> str:
    if isinstance(train, TrainSpec):
        student = train.student
        return (
            f"{student.kind}, width {student.width}, {student.blocks} blocks, patch {student.patch}, {student.levels} "
            f"level(s){', attention' if student.attention else ''}"
        )
    return f"the paper's, width {train.width}" if isinstance(train, PaperSpec) else f"of method {train.method}"


def _share(part: int, whole: int | None) -> str:
    return "" if not whole else f" ({part / whole:.0%} of the teacher's)"


def _millions(number: int) -> str:
    return f"{number / 1e9:.3g} G" if number >= 1e9 else f"{number / 1e6:.3g} M"


def _time(seconds: float | None) -> str:
    return "time unknown" if seconds is None else duration_text(seconds)
