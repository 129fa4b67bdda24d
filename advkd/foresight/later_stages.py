"""What training, evaluation and registration would refuse, said before a store is paid for.

A store may be meant for any recipe, also one of its user's own: so precompute refuses only what a preset that was named
refuses (`--for-preset`), and warns by default if the preset of `distill` would.
"""

from dataclasses import replace

from advkd.evaluation import EvaluateSpec, check_targets, protocols
from advkd.presets import DEFAULT_PRESET, PRESETS, fitted, preset
from advkd.registry import RegisterSpec
from advkd.teachers import Teacher
from advkd.training import Processes, RunSpec, build_method
from advkd.trajectories import PrecomputeSpec, cached_teacher, trajectory_spec

ANY = "any"
"""Instead of a preset: the store is for a recipe of one's own, about which nothing is known yet."""


def check_later_stages(
    precompute: PrecomputeSpec,
    train: RunSpec,
    teacher: Teacher,
    *,
    samples: int,
    features: str = "auto",
    weights: str | None = None,
    real: str | None = None,
    skip_bad: bool = False,
    model: str = "advkd",
    processes: int = 1,
) -> None:
    """Runs the checks of later stages now, and not after an hour; all that they need is known.

    Args:
        precompute: of the store.
        train: of the student.
        teacher: of both.
        samples: images of the evaluation.
        features: its extractors.
        weights: weights of these.
        real: its real images.
        skip_bad: whether those that cannot be read are left out.
        model: name of the registered model.
        processes: number of training processes.

    Raises:
        ValueError: training, evaluation or registration would refuse their settings.
    """
    store = trajectory_spec(precompute, teacher)
    # Untrained networks are cheap, and building them checks whether solver, patches and weights fit.
    build_method(train, store)
    Processes(count=processes).share(train.batch_size)
    if (train.trajectories or 0) > precompute.samples:
        raise ValueError(
            f"a run cannot have more trajectories than its cache, got trajectories={train.trajectories} of "
            f"{precompute.samples}; precompute more samples or leave it out"
        )
    if train.batch_size > (train.trajectories or precompute.samples):
        raise ValueError(
            f"a run's batch must fit into its trajectories, got batch_size {train.batch_size} of "
            f"{train.trajectories or precompute.samples}; precompute more samples, or train with a smaller batch"
        )
    evaluation = EvaluateSpec(
        student="", out="", samples=samples, features=features, weights=weights, real=real, skip_bad=skip_bad
    )
    protocols(evaluation, teacher)
    own = precompute.solver.deterministic
    check_targets(teacher, store.sampler if own else None, store.timesteps, store.solver_steps if own else None)
    RegisterSpec(student="", report="", out="", model=model)


def refuse_for(spec: PrecomputeSpec, name: str) -> None:
    """Refuses a precompute whose store a preset could not go on with.

    Raises:
        ValueError: there is no such preset, or one of its later stages would refuse the store.
    """
    if name == ANY:
        return
    reason = _refusal(spec, name)
    if reason is not None:
        raise ValueError(
            f"a store for the preset {name!r} must be one that it goes on with, but {reason}; precompute otherwise, or "
            f"say --for-preset {ANY} if it is for a recipe of your own"
        )


def warning_for(spec: PrecomputeSpec) -> str | None:
    """Returns what is to be said before a store is computed for no preset in particular; None if all is well."""
    reason = _refusal(spec, DEFAULT_PRESET)
    if reason is None:
        return None
    others = [name for name in sorted(PRESETS) if name != DEFAULT_PRESET and _refusal(spec, name) is None]
    taken = f"the preset {' or '.join(others)} takes it" if others else "no other preset takes it either"
    return (
        f"the preset {DEFAULT_PRESET} would refuse this store: {reason} ({taken}; --for-preset NAME makes this an "
        f"error, --for-preset {ANY} silences it)"
    )


def _refusal(spec: PrecomputeSpec, name: str) -> str | None:
    """Returns why a preset would refuse a store, None if it would not.

    Raises:
        ValueError: there is no such preset, or precompute itself would refuse its spec.
    """
    chosen = preset(name)
    teacher = cached_teacher(spec.teacher, spec.device, spec.precision)
    try:
        train = replace(fitted(chosen, trajectory_spec(spec, teacher)), device="cpu")
        check_later_stages(spec, train, teacher, samples=chosen.evaluation_samples, model=f"advkd-{teacher.name}")
    except ValueError as error:
        return str(error)
    return None
