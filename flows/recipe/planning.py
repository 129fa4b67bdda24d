"""The plan of `distill`, made before anything starts: the specs of its stages, and the places of its output."""

import hashlib
import json
from dataclasses import dataclass, replace

from advkd import presets
from advkd.evaluation import EvaluateSpec
from advkd.export import ExportSpec
from advkd.features import NONE
from advkd.files import refuse_credentials
from advkd.foresight import check_later_stages
from advkd.presets import Budget, Changes, Target, Wish, choose
from advkd.registry import RegisterSpec, require_registry
from advkd.training import RunSpec, run_identity
from advkd.trajectories import PrecomputeSpec, StoreResult, cached_teacher
from storage.objects import join

_DEFAULTS = PrecomputeSpec()


@dataclass(frozen=True)
class Places:
    """Folders or URIs of a distillation's output, which depend on its store.

    Attributes:
        student: place of the training run, its checkpoints and its student.
        report: place of the evaluation's report.
        onnx: place of its ONNX export.
        artifact: place of the exported model.
    """

    student: str
    report: str
    onnx: str
    artifact: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a distillation.

    Attributes:
        root: folder or URI of all output.
        teacher: name of the teacher, as a slug.
        precompute: settings of precompute.
        train: settings of the training run.
        samples: number of images in the evaluation.
        features: extractors of the evaluation.
        weights: weights of its extractors, where they look for some.
        real: real images of the evaluation.
        skip_bad: whether those that cannot be read are left out.
        model: name of the registered model.
        fan_out: where shards are computed, None for threads.
        processes: number of training processes.
    """

    root: str
    teacher: str
    precompute: PrecomputeSpec
    train: RunSpec
    samples: int
    features: str
    weights: str | None
    real: str | None
    skip_bad: bool
    model: str
    fan_out: str | None = None
    processes: int = 1

    def places(self, store: StoreResult) -> Places:
        """Returns the places of output for a store; the same settings give the same places, so a run can be resumed."""
        facts = [run_identity(self.train, store.digest), store.num_samples]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        name = f"{self.teacher}-{digest[:12]}"
        return Places(*(join(self.root, kind, name) for kind in ("students", "reports", "onnx", "models")))

    def evaluation(self, places: Places, student: str) -> EvaluateSpec:
        """Returns the settings of a student's evaluation."""
        return EvaluateSpec(
            student=student,
            teacher=self.precompute.teacher,
            out=places.report,
            references=self.root,
            features=self.features,
            weights=self.weights,
            real=self.real,
            skip_bad=self.skip_bad,
            samples=self.samples,
            solver=self.precompute.solver.kind if self.precompute.solver.deterministic else None,
            solver_steps=self.precompute.solver.steps if self.precompute.solver.deterministic else None,
            device=self.precompute.device,
        )

    def exporting(self, places: Places, student: str) -> ExportSpec:
        """Returns the settings of a student's export; without features it is not compared with its teacher."""
        return ExportSpec(
            student=student,
            out=places.onnx,
            report=places.report,
            teacher=None if self.features == NONE else self.precompute.teacher,
            references=self.root,
            features=self.features,
            weights=self.weights,
            samples=self.samples,
            seconds=0.1,
        )

    def registration(self, places: Places, store: str, student: str, onnx: str | None) -> RegisterSpec:
        """Returns the settings of a student's registration."""
        return RegisterSpec(
            student=student,
            report=places.report,
            out=places.artifact,
            runs=self.root,
            model=self.model,
            onnx=onnx,
            store=store,
            teacher=self.precompute.teacher,
        )


def recipe(
    teacher: str = "digits",
    preset: str = "full",
    root: str = "runs",
    precompute: PrecomputeSpec | None = None,
    train: RunSpec | None = None,
    model: str | None = None,
    samples: int | None = None,
    fan_out: str | None = None,
    processes: int = 1,
    device: str | None = None,
    changes: Changes | None = None,
    target: Target | None = None,
    budget: str | None = None,
    features: str = "auto",
    weights: str | None = None,
    real: str | None = None,
    skip_bad: bool = False,
) -> Recipe:
    """Returns the recipe of a preset with the caller's changes, checked with the teacher and by all later stages.

    Raises:
        ValueError: the root is in an object store without a registry, or holds credentials; there are two teachers,
            or an unknown one; the teacher does not have the timesteps; a target or a budget cannot be met; an extractor
            does not take its images; the processes cannot share a batch; or training, evaluation or registration would
            refuse their settings.
    """
    refuse_credentials(root)
    require_registry(root)
    chosen = presets.preset(preset)
    wish = Wish(
        preset=preset,
        precompute=precompute,
        train=train,
        changes=changes or Changes(),
        target=target or Target(),
        budget=None if budget is None else Budget.parse(budget),
        device=device,
    )
    asked = precompute or chosen.precompute
    if asked.teacher not in (_DEFAULTS.teacher, teacher):
        raise ValueError(
            f"a distillation has one teacher, got {teacher!r} and precompute.teacher={asked.teacher!r}; "
            "say it in `teacher` alone"
        )
    store = join(root, "stores") if asked.store == _DEFAULTS.store else asked.store
    asked = replace(asked, teacher=teacher, store=store)
    loaded = cached_teacher(teacher, device or asked.device, asked.precision)
    choice = choose(wish, asked, loaded, root)
    plan = Recipe(
        root=root,
        teacher=loaded.name,
        precompute=choice.precompute,
        train=choice.train,
        samples=chosen.evaluation_samples if samples is None else samples,
        features=features,
        weights=weights,
        real=real,
        skip_bad=skip_bad,
        model=f"advkd-{loaded.name}" if model is None else model,
        fan_out=fan_out,
        processes=processes,
    )
    check_later_stages(
        plan.precompute,
        plan.train,
        loaded,
        samples=plan.samples,
        features=plan.features,
        weights=plan.weights,
        real=plan.real,
        skip_bad=plan.skip_bad,
        model=plan.model,
        processes=plan.processes,
    )
    return plan
