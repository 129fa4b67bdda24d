"""What `distill` is going to do, decided before anything starts: the specs of its stages, and where output goes."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from advkd import presets
from advkd.evaluation import EvaluateSpec, features_for
from advkd.registry import RegisterSpec
from advkd.teachers import Teacher
from advkd.training import Processes, RunSpec, build_method, run_identity
from advkd.trajectories import PrecomputeSpec, StoreResult, cached_teacher, trajectory_spec
from flows.recipe.parameters import placed
from storage.objects import join

_DEFAULTS = PrecomputeSpec()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One distillation, apart from what only the stages themselves find out.

    Attributes:
        root: local folder of everything that is made.
        precompute: which trajectories, and in which store.
        train: the training run.
        samples: images of the evaluation.
        model: name of the registered model.
        fan_out: where shards are computed, None for threads.
        processes: that train.
    """

    root: str
    precompute: PrecomputeSpec
    train: RunSpec
    samples: int
    model: str
    fan_out: str | None = None
    processes: int = 1

    def student(self, store: StoreResult) -> str:
        """Folder of the student of a store: the same call, the same folder, so a run is continued by repeating it."""
        facts = [run_identity(self.train, store.digest), store.num_samples]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return join(self.root, "students", f"{self._slug()}-{digest[:12]}")

    def report(self, store: StoreResult) -> str:
        """Folder of that student's report."""
        return join(self.root, "reports", Path(self.student(store)).name)

    def evaluation(self, store: StoreResult, student: str) -> EvaluateSpec:
        """The evaluation of a student of that store."""
        return EvaluateSpec(
            student=student,
            teacher=self.precompute.teacher,
            out=self.report(store),
            references=self.root,
            samples=self.samples,
            solver=self.precompute.solver.kind if self.precompute.solver.deterministic else "ddim",
            solver_steps=self.precompute.solver.steps if self.precompute.solver.deterministic else None,
            device=self.precompute.device,
        )

    def registration(self, store: StoreResult, student: str) -> RegisterSpec:
        """The registration of that student with its report."""
        return RegisterSpec(
            student=student,
            report=self.report(store),
            out=join(self.root, "models", Path(self.student(store)).name),
            runs=self.root,
            model=self.model,
            store=store.uri,
        )

    def _slug(self) -> str:
        return cached_teacher(self.precompute.teacher, self.precompute.device).name


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
) -> Recipe:
    """The preset, with what the caller replaces in it, checked against the teacher itself and by every later stage.

    Raises:
        ValueError: a root that is no local folder, two teachers, an unknown one, timesteps that it does not have,
            images without a feature extractor, a batch that the processes cannot share, or what training, evaluation
            or registration would refuse.
    """
    if "://" in root:
        raise ValueError(
            f"root must be a local folder, got {root!r}; give precompute.store that URI to keep trajectories there"
        )
    chosen = presets.preset(preset)
    asked = precompute or chosen.precompute
    if asked.teacher not in (_DEFAULTS.teacher, teacher):
        raise ValueError(
            f"a distillation has one teacher, got {teacher!r} and precompute.teacher={asked.teacher!r}; "
            "say it in `teacher` alone"
        )
    store = join(root, "stores") if asked.store == _DEFAULTS.store else asked.store
    asked = placed(replace(asked, teacher=teacher, store=store), device)
    loaded = cached_teacher(teacher, asked.device)
    plan = Recipe(
        root=root,
        precompute=asked,
        train=placed(train or chosen.train, device),
        samples=chosen.evaluation_samples if samples is None else samples,
        model=f"advkd-{loaded.name}" if model is None else model,
        fan_out=fan_out,
        processes=processes,
    )
    _check_stages(plan, loaded)
    return plan


def _check_stages(plan: Recipe, teacher: Teacher) -> None:
    """Lets the later stages refuse now, not after an hour: everything that they check is known already."""
    trajectories = trajectory_spec(plan.precompute, teacher)
    # Untrained networks are cheap, and whoever builds them knows whether solver, patches and weights fit.
    build_method(plan.train, trajectories)
    Processes(count=plan.processes).share(plan.train.batch_size)
    if (plan.train.trajectories or 0) > plan.precompute.samples:
        raise ValueError(
            f"a run cannot have more trajectories than its cache, got trajectories={plan.train.trajectories} of "
            f"{plan.precompute.samples}; precompute more samples or leave it out"
        )
    features_for(teacher.space.image_shape)
    EvaluateSpec(student="", out="", samples=plan.samples)
    RegisterSpec(student="", report="", out="", model=plan.model)
