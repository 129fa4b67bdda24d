"""Chooses everything of a distillation from a preset, a teacher and what its user asks for: the specs of all stages."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace

from advkd.presets.budget import Bought, Budget, buy, spend
from advkd.presets.fitting import Changes, fitted, fitted_states, fitted_store
from advkd.presets.speed import pass_multiply_adds
from advkd.presets.table import DEFAULT_PRESET, Preset, preset
from advkd.presets.targets import Target, student_cost, within
from advkd.teachers import AUTO, SolverSpec, Teacher, fitting_solver
from advkd.training import RunSpec
from advkd.trajectories import PrecomputeSpec, sample_passes, trajectory_spec
from storage import TrajectorySpec, join, read_json
from storage.objects import create_bytes, exists

_GRADIENTS = 3
_COSTLY = 8
"""Multiply-adds of precompute, in those of training, from which on a costly teacher has fewer trajectories."""
PLANS = "plans"
"""Folder below a root in which what a budget bought is kept."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a user asks of a distillation besides its teacher.

    Attributes:
        preset: name of the recipe.
        precompute: replaces all of the preset's settings of precompute; None leaves them to the rules.
        train: replaces all of the preset's settings of training.
        changes: single settings instead of the rules'.
        target: what the student may cost.
        budget: what precompute and training may take.
        device: of precompute and training, "cpu" or "cuda"; None: those of the specs.
    """

    preset: str = DEFAULT_PRESET
    precompute: PrecomputeSpec | None = None
    train: RunSpec | None = None
    changes: Changes = field(default_factory=Changes)
    target: Target = field(default_factory=Target)
    budget: Budget | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.train is not None and (self.changes != Changes() or self.target != Target()):
            raise ValueError(
                "changes and a target are of a preset's training, got them beside settings that replace it; say them "
                "in these settings"
            )
        if self.precompute is not None and self.changes.captures is not None:
            raise ValueError(
                f"changes.captures is of a preset's precompute, got {self.changes.captures} beside settings that "
                "replace it; say captures in these settings"
            )


@dataclass(frozen=True)
class Choice:
    """Specs of the stages, and the facts of the store."""

    precompute: PrecomputeSpec
    train: RunSpec
    store: TrajectorySpec


def choose(wish: Wish, base: PrecomputeSpec, teacher: Teacher, root: str | None = None) -> Choice:
    """Chooses the specs of all stages.

    Args:
        wish: what is asked for.
        base: the wish's precompute, or the preset's, with the teacher's source and the store's place.
        teacher: the teacher.
        root: folder or URI where what a budget buys is kept at its first use, so that a repeated run finds the same
            numbers; None: measured anew.

    Raises:
        ValueError: the solver does not take the teacher, no rule covers its shape, or a target or budget is too small.
    """
    chosen, own = preset(wish.preset), wish.precompute is None
    precompute = replace(base, solver=_solver(base, teacher, own=own), device=wish.device or base.device)
    if own:
        precompute = fitted_states(precompute, wish.train or chosen.train, teacher.space.shape, wish.changes.captures)
        precompute = fitted_store(precompute, trajectory_spec(precompute, teacher))
    store = trajectory_spec(precompute, teacher)
    train = wish.train or fitted(chosen, store, replace(wish.changes, captures=None))
    train = replace(train, device=wish.device or train.device)
    train = within(wish.target, train, store, lambda: pass_multiply_adds(teacher))
    if own and wish.train is None:
        precompute = replace(precompute, samples=_trajectories(chosen, precompute, train, store, teacher))
    if wish.budget is not None:
        precompute, train = spend(_bought(wish, precompute, train, store, teacher, root), precompute, train)
    return Choice(precompute, train, store)


def _solver(asked: PrecomputeSpec, teacher: Teacher, *, own: bool) -> SolverSpec:
    """Returns the solver: of a preset's deterministic one that does not solve this teacher, the one that does."""
    try:
        teacher.grid(fitting_solver(asked.solver, teacher))
    except ValueError:
        if not own or not asked.solver.deterministic:
            raise
        return fitting_solver(replace(asked.solver, kind=AUTO), teacher)
    return fitting_solver(asked.solver, teacher)


def _trajectories(
    chosen: Preset, precompute: PrecomputeSpec, train: RunSpec, store: TrajectorySpec, teacher: Teacher
) -> int:
    """Returns the preset's number of trajectories, or fewer if they cost much more than training by them."""
    each = pass_multiply_adds(teacher)
    if each is None or not precompute.solver.deterministic or precompute.samples <= chosen.fewest:
        return precompute.samples
    training = _GRADIENTS * train.samples * student_cost(train, store).multiply_adds
    affordable = int(_COSTLY * training / (each * sample_passes(store)))
    shard = store.shard_samples
    return min(precompute.samples, max(chosen.fewest, affordable // shard * shard))


def _bought(
    wish: Wish, precompute: PrecomputeSpec, train: RunSpec, store: TrajectorySpec, teacher: Teacher, root: str | None
) -> Bought:
    assert wish.budget is not None
    if root is None:
        return buy(wish.budget, teacher, precompute, train, store)
    facts = [wish.budget.seconds, asdict(precompute), asdict(train), store.to_json()]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    kept = join(root, PLANS, f"{digest[:16]}.json")
    if not exists(kept):
        bought = buy(wish.budget, teacher, precompute, train, store)
        # Of several runs that begin at once, one decides for all.
        create_bytes(kept, json.dumps(asdict(bought)).encode())
    return Bought(**read_json(kept))
