"""One table of recipes: what the flows and the command line run when nothing else is said.

Figures stand beside an entry where they were measured; `docs/demo.md` says how.
"""

from dataclasses import dataclass, field

from advkd.precompute import PrecomputeSpec
from advkd.students import StudentSpec
from advkd.teachers import SolverSpec
from advkd.training.spec import TrainSpec


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What to cache, how to train and how many samples to evaluate with."""

    precompute: PrecomputeSpec = field(default_factory=PrecomputeSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    evaluation_samples: int = 2048


PRESETS: dict[str, Preset] = {
    # The demo, worth 8.3 teacher steps: 75 s of precompute and 88 s of training on two CPU cores.
    "quick": Preset(
        precompute=PrecomputeSpec(samples=5120, solver=SolverSpec(steps=20), captures=4, shard_samples=256),
        train=TrainSpec(
            student=StudentSpec(width=48, blocks=2),
            samples=90_000,
            precision="auto",
            window=20,
            checkpoint_every=15_000,
        ),
    ),
    # 32 768 trajectories of 50 steps; not measured as a whole yet.
    "full": Preset(
        precompute=PrecomputeSpec(samples=32768, solver=SolverSpec(steps=50), captures=5, shard_samples=1024),
        train=TrainSpec(
            student=StudentSpec(width=48, blocks=2), samples=1_500_000, precision="auto", checkpoint_every=50_000
        ),
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"a preset must be one of {sorted(PRESETS)}, got {name!r}; choose one of them")
    return PRESETS[name]
