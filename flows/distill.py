"""Flow `distill`: makes an evaluated, registered one-pass student. `python -m flows.distill` is the demo."""

from typing import Literal

from advkd.foresight import ANY
from advkd.presets import PRESETS, Changes, Target
from advkd.trajectories import PrecomputeSpec
from flows.evaluate import evaluate as evaluate_student
from flows.export import export as export_student
from flows.precompute import precompute as fill_store
from flows.processes import FanOut, ProcessCount, last_part, stage
from flows.recipe import Device, Strict, TrainingSpec, recipe
from flows.register import register as register_student
from flows.results import DistillResult, Stopwatch, count, publish, summarize
from flows.tasks import note_counters
from flows.train import train as train_student

PresetName = Literal[*PRESETS]


@stage("distill", named=lambda told: f"{last_part(told['teacher'])} · {told['preset']}")
def distill(
    teacher: str = "digits",
    preset: PresetName = "full",
    root: str = "runs",
    precompute: Strict[PrecomputeSpec] | None = None,
    train: TrainingSpec | None = None,
    model: str | None = None,
    samples: int | None = None,
    fan_out: FanOut | None = None,
    processes: ProcessCount = 1,
    device: Device | None = None,
    changes: Strict[Changes] | None = None,
    target: Strict[Target] | None = None,
    budget: str | None = None,
    features: str = "auto",
    weights: str | None = None,
    real: str | None = None,
    skip_bad: bool = False,
) -> DistillResult:
    """Distils a teacher into a one-pass student. A repeated run does only what is missing.

    Args:
        teacher: name of an embedded teacher ("digits", "mixture"), diffusers folder (or its s3:// URI), or hub id.
        preset: name of the recipe whose settings are used unless others are given.
        root: folder or URI of all output; `summary.json` in it holds the result. A URI of an object store needs
            MLFLOW_TRACKING_URI.
        precompute: replaces all of the preset's settings of precompute.
        train: replaces all of the preset's settings of training.
        model: name of the registered model; by default advkd-<teacher>.
        samples: number of images in the evaluation; by default the preset's; at least 2000 for a meaningful worth.
        fan_out: where shards are computed: by default in threads; "ray" starts a Ray cluster on this machine, "auto"
            and "ray://host:10001" use an existing one.
        processes: number of training processes on this machine; one per GPU with device "cuda".
        device: device of all stages, "cpu" or "cuda"; by default those of the specs.
        changes: single settings instead of the preset's rules, such as {"width": 48}; `advkd plan` shows what follows.
        target: what the student may cost at most: {"max_passes": 0.25} of its teacher, {"max_parameters": 2000000}.
        budget: time for precompute and training on this machine, such as "30m"; it decides the number of trajectories
            and the length of the training, once per root.
        features: extractors of the evaluation, with commas between them; "auto": digits for the embedded teachers, the
            teacher's own network for others; "none": students are registered without distances.
        weights: weights of an extractor that looks for some, such as inception: a file, folder or hub id.
        real: real images with which the evaluation compares: a folder or zip of pictures, tars, Parquet, an npz of
            statistics, or "digits"; by default none.
        skip_bad: leave out real images that cannot be read instead of refusing them all; the report counts them.
    """
    plan = recipe(
        teacher,
        preset,
        root,
        precompute,
        train,
        model,
        samples,
        fan_out,
        processes,
        device,
        changes,
        target,
        budget,
        features,
        weights,
        real,
        skip_bad,
    )
    clock = Stopwatch()
    with clock.stage("precompute"):
        # The plan is checked already, with its own recipe.
        store = fill_store(plan.precompute, plan.fan_out, for_preset=ANY)
    places = plan.places(store)
    with clock.stage("train"):
        student = train_student(plan.train, store.uri, places.student, plan.processes)
    with clock.stage("evaluate"):
        evaluation = evaluate_student(plan.evaluation(places, student.folder), plan.fan_out)
    with clock.stage("export"):
        onnx = export_student(plan.exporting(places, student.folder))
    with clock.stage("register"):
        version = register_student(plan.registration(places, store.uri, student.folder, onnx.uri or None))
    counters = count(places, store, student, evaluation, onnx, version, clock.seconds)
    if version.created:
        note_counters(version, counters, plan.root)
    result = summarize(plan, places, store, student, evaluation.report, onnx, version, counters)
    publish(result)
    return result


if __name__ == "__main__":
    from flows.command import main
    from flows.processes import set_aside
    from flows.results import show

    set_aside()
    main(distill, check=recipe, show=show)
