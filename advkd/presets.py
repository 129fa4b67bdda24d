"""The table of presets: the recipes that the flows and the command line run by default.

Comments beside an entry give measured figures; `docs/demo.md` says how they were measured.
"""

from dataclasses import dataclass, field, replace

from advkd.students import StudentSpec
from advkd.teachers import AUTO, SolverSpec
from advkd.training import PaperSpec, RunSpec, TrainSpec
from advkd.trajectories import PrecomputeSpec
from storage import TrajectorySpec, default_shard_samples

DEFAULT_PRESET = "full"
"""That of `distill`."""

_SHARD_BYTES = 64 * 2**20
_POSITIONS = 8
_WINDOW_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What to precompute, how to train, and how many samples to evaluate with."""

    precompute: PrecomputeSpec = field(default_factory=PrecomputeSpec)
    train: RunSpec = field(default_factory=TrainSpec)
    evaluation_samples: int = 2048


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
    # Worth 19.7 DDIM steps, recall 0.972: 494 CPU seconds of training in bfloat16 (docs/benchmarks/worth.md).
    "full": Preset(
        precompute=PrecomputeSpec(
            samples=16384, solver=SolverSpec(steps=50), captures=4, shrink=0.5, shard_samples=1024
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
    ),
    # The paper's recipe for 16x16 images, with the released code's faults fixed (`PaperSpec` switches them on again).
    # Ancestral sampling has as many passes as timesteps: 2048 trajectories are 2 million passes. 100 epochs, as the
    # released code's first four phases have together. From half as many trajectories its student is worth 2.0 teacher
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


def fitted_store(precompute: PrecomputeSpec, store: TrajectorySpec) -> PrecomputeSpec:
    """Returns a preset's precompute for the states of `store`: with shards of at most 64 MiB, or of one block."""
    if precompute.shard_samples is None:
        return precompute
    largest = max(default_shard_samples(store.trajectory_bytes), store.block_samples)
    if precompute.shard_samples * store.trajectory_bytes <= _SHARD_BYTES:
        return precompute
    return replace(precompute, shard_samples=min(precompute.shard_samples, largest))


def fitted(train: RunSpec, store: TrajectorySpec) -> RunSpec:
    """Returns a preset's training on a store: its window of shards has at most 1 GiB, or is one shard.

    A reader holds two windows. Our method gets the largest patch that divides the sides of the states and leaves eight
    positions on each; 1 if none does. With digits-classes, at 4x4, a patch of 1 is worth 13.3 DDIM steps, of 2 11.2.
    """
    shards = _WINDOW_BYTES // (store.shard_samples * store.trajectory_bytes)
    train = replace(train, window=max(1, min(train.window, shards)))
    if not isinstance(train, TrainSpec):
        return train
    shape = store.sample_shape
    return replace(
        train,
        student=replace(train.student, patch=_patch(train.student.patch, shape)),
        discriminator=replace(train.discriminator, patch=_patch(train.discriminator.patch, shape)),
    )


def _patch(largest: int, shape: tuple[int, int, int]) -> int:
    for patch in range(largest, 1, -1):
        if all(side % patch == 0 and side >= _POSITIONS * patch for side in shape[1:]):
            return patch
    return 1
