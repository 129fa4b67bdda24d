"""The plan of a distillation: what its stages will do and cost, counted and measured before anything is spent."""

from dataclasses import dataclass

from advkd.evaluation import ReferencePlan, plan_reference
from advkd.features import AUTO, chosen_features
from advkd.foresight.later_stages import check_later_stages
from advkd.networks import parameters
from advkd.presets import (
    Choice,
    StudentCost,
    Wish,
    choose,
    pass_multiply_adds,
    passes_at_once,
    preset,
    sample_seconds,
    step_seconds,
    student_cost,
    trajectory_bytes,
)
from advkd.teachers import Teacher
from advkd.trajectories import CachePlan, PrecomputeSpec, plan_cache, sample_passes


@dataclass(frozen=True, kw_only=True)
class DistillationPlan:
    """What a distillation will do and cost on this machine.

    Attributes:
        choice: specs of all stages.
        evaluation_samples: number of images.
        teacher_parameters: of the teacher's network; None for a teacher without one.
        pass_multiply_adds: of one sample's pass through it.
        cache: bytes, objects and passes of the store; its times are those of all cores.
        student: counts of the student.
        training_seconds: of the training run, as a few steps took.
        training_bytes: memory of a step and of the reader's window, without weights and libraries.
        reference: what the teacher's curve takes, once per teacher; None where it has no deterministic solver.
        workers: passes that run at the same time, for trajectories and the curve.
    """

    choice: Choice
    evaluation_samples: int
    teacher_parameters: int | None
    pass_multiply_adds: int | None
    cache: CachePlan
    student: StudentCost
    training_seconds: float
    training_bytes: int
    reference: ReferencePlan | None
    workers: int

    @property
    def passes(self) -> float | None:
        """Multiply-adds of the student's pass in passes of its teacher; None for a teacher without a network."""
        return None if self.pass_multiply_adds is None else self.student.multiply_adds / self.pass_multiply_adds

    @property
    def seconds(self) -> float:
        """Of precompute, training and the teacher's curve together, on this machine."""
        reference = 0.0 if self.reference is None else self.reference.seconds / self.workers
        return (self.cache.wall_seconds or 0.0) + self.training_seconds + reference


def plan_distillation(wish: Wish, base: PrecomputeSpec, teacher: Teacher, root: str = "runs") -> DistillationPlan:
    """Plans a distillation: chooses its specs, asks every stage whether it takes them, counts and measures.

    Args:
        wish: what is asked for.
        base: see `advkd.presets.choose`.
        teacher: the teacher.
        root: where a distillation would keep the teacher's curve, which is computed once.

    Raises:
        ValueError: a stage would refuse its settings, or a target or budget cannot be met.
    """
    choice, chosen = choose(wish, base, teacher), preset(wish.preset)
    check_later_stages(
        choice.precompute,
        choice.train,
        teacher,
        samples=chosen.evaluation_samples,
        model=f"advkd-{teacher.name}",
    )
    workers, network = passes_at_once(teacher), getattr(teacher, "network", None)
    each = step_seconds(teacher, choice.precompute.solver)
    cache = plan_cache(
        choice.store,
        choice.precompute.samples,
        workers=workers,
        passes_per_second=choice.store.solver_steps / sample_passes(choice.store) / each,
    )
    part = choice.train.batch_size // choice.train.accumulate
    window = 2 * min(choice.train.window, cache.num_shards) * cache.shard_bytes
    return DistillationPlan(
        choice=choice,
        evaluation_samples=chosen.evaluation_samples,
        teacher_parameters=None if network is None else parameters(network),
        pass_multiply_adds=pass_multiply_adds(teacher),
        cache=cache,
        student=student_cost(choice.train, choice.store),
        training_seconds=choice.train.samples * sample_seconds(choice.train, choice.store),
        training_bytes=part * trajectory_bytes(choice.train, choice.store) + window,
        reference=plan_reference(teacher, chosen_features(AUTO, teacher), chosen.evaluation_samples, root),
        workers=workers,
    )
