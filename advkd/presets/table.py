"""The table of presets: the recipes that the flows and the command line run by default.

Comments beside an entry give measured figures; `docs/demo.md` says how they were measured.
"""

from dataclasses import dataclass, field

from advkd.discriminators import DiscriminatorSpec
from advkd.students import StudentSpec
from advkd.teachers import AUTO, SolverSpec
from advkd.training import PaperSpec, RunSpec, TrainSpec
from advkd.trajectories import PrecomputeSpec

DEFAULT_PRESET = "full"
"""That of `distill`."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What to precompute, how to train, and how many samples to evaluate with; for digits, the rules fit it to others.

    Attributes:
        precompute: settings of the store.
        train: settings of the training run.
        evaluation_samples: number of images.
        finest: most positions on the longer side of a student's finest level (`advkd.presets.grids`).
        fewest: least number of trajectories for a costly teacher.
        part_bytes: most memory of a training step, by which a batch is computed in parts.
    """

    precompute: PrecomputeSpec = field(default_factory=PrecomputeSpec)
    train: RunSpec = field(default_factory=TrainSpec)
    evaluation_samples: int = 2048
    finest: int = 16
    fewest: int = 2048
    part_bytes: int = 4 * 2**30


PRESETS: dict[str, Preset] = {
    # The demo, worth 5.2 passes of its teacher by the best solver (docs/demo.md), and 10.7 DDIM steps after 69 CPU
    # seconds of training in bfloat16 (docs/benchmarks/worth.md). Ten steps of UniPC are nearer to a fine solution than
    # twenty of DDIM (docs/benchmarks/solvers.md).
    "quick": Preset(
        precompute=PrecomputeSpec(
            samples=5120, solver=SolverSpec(kind=AUTO, steps=10), captures=4, shrink=0.5, shard_samples=256
        ),
        train=TrainSpec(
            student=StudentSpec(width=32, blocks=2),
            samples=64_000,
            precision="auto",
            window=20,
            checkpoint_every=16_000,
        ),
    ),
    # Worth 7.2 passes of its teacher by the best solver, recall 0.974 (docs/benchmarks/worth.md). Twenty steps of UniPC
    # are nearer to a fine solution than fifty of DDIM (docs/benchmarks/solvers.md).
    "full": Preset(
        precompute=PrecomputeSpec(
            samples=16384, solver=SolverSpec(kind=AUTO, steps=20), captures=4, shrink=0.5, shard_samples=1024
        ),
        train=TrainSpec(
            student=StudentSpec(width=32, blocks=2),
            samples=600_000,
            precision="auto",
            window=16,
            ema_halflife=30_000.0,
            checkpoint_every=50_000,
            monitor_every=10_000,
        ),
        finest=32,
        fewest=8192,
    ),
    # For GPUs. Nothing of it has been measured here: `advkd plan` says what it costs where it is to run.
    "large": Preset(
        precompute=PrecomputeSpec(
            samples=131_072, solver=SolverSpec(kind=AUTO, steps=20), captures=4, shrink=0.5, shard_samples=1024
        ),
        train=TrainSpec(
            student=StudentSpec(width=96, blocks=3),
            discriminator=DiscriminatorSpec(width=64),
            samples=6_400_000,
            batch_size=256,
            precision="auto",
            window=16,
            ema_halflife=100_000.0,
            checkpoint_every=200_000,
            monitor_every=50_000,
        ),
        finest=64,
        fewest=32_768,
        part_bytes=16 * 2**30,
    ),
    # The paper's recipe for 16x16 images, with the released code's faults fixed (`PaperSpec` switches them on again).
    # Ancestral sampling has as many passes as timesteps: 2048 trajectories are 2 million passes. 100 epochs, as the
    # released code's first four phases have together. From half as many trajectories its student is worth 2.0 DDIM
    # steps after 175 CPU seconds (docs/benchmarks/worth.md).
    "paper": Preset(
        precompute=PrecomputeSpec(
            samples=2048,
            solver=SolverSpec(kind="ddpm", steps=1000),
            captures=4,
            resolutions=((16, 16), (8, 8), (8, 8), (16, 16), (16, 16)),
            shard_samples=128,
        ),
        train=PaperSpec(samples=204_800, window=16),
    ),
}


def preset(name: str) -> Preset:
    """Returns the preset of this name.

    Raises:
        ValueError: there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"a preset must be one of {sorted(PRESETS)}, got {name!r}; choose one of them")
    return PRESETS[name]
