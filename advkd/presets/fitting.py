"""Fits a preset to a store: shards and windows by bytes, networks by shape, parts of a batch by memory."""

from dataclasses import dataclass, replace

from advkd.diffusion import spread_captures
from advkd.presets.grids import fitted_discriminator, fitted_student
from advkd.presets.memory import trajectory_bytes
from advkd.presets.table import Preset
from advkd.presets.targets import with_width
from advkd.students import submodule_sides, usual_submodules
from advkd.training import PaperSpec, RunSpec, TrainSpec
from advkd.trajectories import PrecomputeSpec
from storage import TrajectorySpec, default_shard_samples

_SHARD_BYTES = 64 * 2**20
_WINDOW_BYTES = 2**30
_PYRAMID_NOISE = 16
_MARGIN = 3
_PER_BLOCK = 8
"""Tensors as large as its hidden features that a block keeps for the way back, and a few besides."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a user sets instead of a preset's rules; None leaves it to them.

    Attributes:
        width: channels of the student's finest level.
        blocks: residual blocks per submodule and level.
        patch: side of the pixel block that is one position.
        batch_size: trajectories per step.
        captures: number of submodules, of the states that the store holds.
        mirror: mirror trajectories left to right, all or those of some classes (`RunSpec.mirror`).
    """

    width: int | None = None
    blocks: int | None = None
    patch: int | None = None
    batch_size: int | None = None
    captures: int | None = None
    mirror: bool | tuple[int, ...] | None = None


def fitted_states(
    precompute: PrecomputeSpec, train: RunSpec, shape: tuple[int, int, int], captures: int | None = None
) -> PrecomputeSpec:
    """Returns a preset's precompute with the states that its method wants of images `[C, H, W]`.

    The paper's student grows with its submodules, so their number, unless it is given as `captures`, and the states'
    sides follow from the image's.

    Raises:
        ValueError: the paper's student cannot grow to this image.
    """
    if not isinstance(train, PaperSpec):
        return precompute if captures is None else replace(precompute, captures=captures)
    count = captures or usual_submodules(shape[1])
    sides = submodule_sides(shape[1], shape[2], count)
    noise = min(_PYRAMID_NOISE, shape[1])
    return replace(precompute, captures=count, resolutions=((noise, noise), *((side, side) for side in sides)))


def fitted_store(precompute: PrecomputeSpec, store: TrajectorySpec) -> PrecomputeSpec:
    """Returns a preset's precompute for the states of `store`: with shards of at most 64 MiB, or of one block."""
    if precompute.shard_samples is None:
        return precompute
    largest = max(default_shard_samples(store.trajectory_bytes), store.block_samples)
    if precompute.shard_samples * store.trajectory_bytes <= _SHARD_BYTES:
        return precompute
    return replace(precompute, shard_samples=min(precompute.shard_samples, largest))


def fitted(preset: Preset, store: TrajectorySpec, changes: Changes = Changes()) -> RunSpec:
    """Returns a preset's training on a store.

    Its window of shards has at most 1 GiB, or is one shard; a reader holds two windows. Networks follow from the shape
    (`advkd.presets.grids`), and each batch is computed in as few parts as the preset's memory needs, measured. With
    digits-classes, at 4x4, a patch of 1 is worth 13.3 DDIM steps, of 2 11.2.

    Raises:
        ValueError: no rule covers the shape, or a change does not fit the store or the method.
    """
    train = replace(preset.train, window=fitted_window(preset, store))
    if changes.captures is not None:
        train = replace(train, timesteps=spread_captures(store.timesteps, changes.captures, 1.0))
    if changes.batch_size is not None:
        train = replace(train, batch_size=changes.batch_size)
    if changes.mirror is not None:
        train = replace(train, mirror=changes.mirror)
    if isinstance(train, TrainSpec):
        train = _fitted_networks(train, preset, store, changes)
    elif changes.blocks is not None or changes.patch is not None:
        raise ValueError(
            f"blocks and patch are of layerwise students, got them for method {train.method!r}; leave them out"
        )
    if changes.width is not None:
        train = with_width(train, changes.width)
    return replace(train, accumulate=_parts(train, store, preset.part_bytes))


def fitted_window(preset: Preset, store: TrajectorySpec) -> int:
    """Returns the number of shards among which a preset's training shuffles: at most 1 GiB, or one."""
    shards = _WINDOW_BYTES // (store.shard_samples * store.trajectory_bytes)
    return max(1, min(preset.train.window, shards))


def _fitted_networks(train: TrainSpec, preset: Preset, store: TrajectorySpec, changes: Changes) -> TrainSpec:
    submodules = len(train.timesteps or store.timesteps) - 1
    student = train.student if changes.blocks is None else replace(train.student, blocks=changes.blocks)
    return replace(
        train,
        student=fitted_student(student, store.sample_shape, preset.finest, submodules, changes.patch),
        discriminator=fitted_discriminator(train.discriminator, store.sample_shape, preset.finest),
    )


def _parts(train: RunSpec, store: TrajectorySpec, most: int) -> int:
    """Returns into how many parts each batch is split, so that a step takes at most so many bytes if it can."""
    # Measuring takes seconds for large images, so what is small by far is not measured.
    if isinstance(train, TrainSpec) and _MARGIN * train.batch_size * _about(train, store) <= most * train.accumulate:
        return train.accumulate
    each = trajectory_bytes(train, store)
    divisors = (parts for parts in range(train.accumulate, train.batch_size + 1) if train.batch_size % parts == 0)
    return next((parts for parts in divisors if train.batch_size // parts * each <= most), train.batch_size)


def _about(train: TrainSpec, store: TrajectorySpec) -> int:
    """Returns about how many bytes a student keeps of a trajectory; coarser levels together as many as the finest."""
    student, submodules = train.student, len(train.timesteps or store.timesteps) - 1
    blocks = submodules * student.blocks if isinstance(student.blocks, int) else sum(student.blocks)
    positions = store.sample_shape[1] * store.sample_shape[2] // student.patch**2
    return 2 * 4 * positions * student.width * _PER_BLOCK * blocks
