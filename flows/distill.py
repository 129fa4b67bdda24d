"""Flow `distill`: a teacher into an evaluated, registered one-pass student. `python -m flows.distill` is the demo."""

from typing import Literal

from advkd.presets import PRESETS
from advkd.trajectories import PrecomputeSpec
from flows.evaluate import evaluate as evaluate_student
from flows.precompute import precompute as fill_store
from flows.processes import FanOut, ProcessCount, stage
from flows.recipe import Device, Strict, TrainingSpec, recipe
from flows.register import register as register_student
from flows.results import DistillResult, Stopwatch, count, publish, summarize
from flows.tasks import note_counters
from flows.train import train as train_student

PresetName = Literal[*PRESETS]


@stage("distill")
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
    features: str = "auto",
    real: str | None = None,
) -> DistillResult:
    """Distils a teacher into a one-pass student. Run again, it does what is missing and nothing twice.

    Args:
        teacher: embedded name ("digits", "mixture"), diffusers folder (or its s3:// URI) or hub id.
        preset: recipe to start from.
        root: folder or URI of everything that is made; `summary.json` in it holds the result. A URI of an object store
            needs MLFLOW_TRACKING_URI.
        precompute: replaces the preset's trajectories as a whole.
        train: replaces the preset's training run as a whole.
        model: name of the registered model; by default advkd-<teacher>.
        samples: images of the evaluation; by default the preset's, at least 2000 for a worth that means something.
        fan_out: where shards are computed: by default in threads; "ray" in a Ray cluster of this machine, "auto" or
            "ray://host:10001" in one that is there.
        processes: that train, on this machine; one per GPU with device "cuda".
        device: of all stages, "cpu" or "cuda"; by default those of the specs.
        features: extractors that the evaluation measures distances in, with commas between them; "auto": digits for the
            embedded teachers, none for any other: its students are registered without distances.
        real: real images that the evaluation compares with: "digits", or the URI of a folder of pictures.
    """
    plan = recipe(teacher, preset, root, precompute, train, model, samples, fan_out, processes, device, features, real)
    clock = Stopwatch()
    with clock.stage("precompute"):
        store = fill_store(plan.precompute, plan.fan_out)
    places = plan.places(store)
    with clock.stage("train"):
        student = train_student(plan.train, store.uri, places.student, plan.processes)
    with clock.stage("evaluate"):
        evaluation = evaluate_student(plan.evaluation(places, student.folder))
    with clock.stage("register"):
        version = register_student(plan.registration(places, store.uri, student.folder))
    counters = count(places, store, student, evaluation, version, clock.seconds)
    if version.created:
        note_counters(version, counters, plan.root)
    result = summarize(plan, places, store, student, evaluation.report, version, counters)
    publish(result)
    return result


if __name__ == "__main__":
    from flows.command import main
    from flows.results import show

    main(distill, check=recipe, show=show)
