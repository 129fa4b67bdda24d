"""The settings of precompute: one frozen dataclass for the command line, the flows and the presets."""

from dataclasses import dataclass, field

from advkd.device import FLOATS
from advkd.diffusion import check_shrink
from advkd.teachers import SolverSpec
from storage.layouts import LAYOUTS
from storage.records import DTYPES, NOISES, check_seed, make_plain

DEFAULT_BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class PrecomputeSpec:
    """The trajectories to cache, and their store.

    Attributes:
        teacher: name of an embedded teacher, diffusers folder (or its s3:// URI), or hub id.
        precision: numbers in which the teacher's network computes: "float32", or on devices that have them "bfloat16"
            or "float16"; part of the store's identity.
        store: root URI of the stores, a local path or `s3://bucket/prefix`.
        samples: number of trajectories; a larger number later extends the same store.
        solver: the teacher's solver and its number of steps.
        captures: number k of captured states, without the noise, including the clean state.
        shrink: ratio of successive distances between captured states, in solver steps, towards the clean state; in
            (0, 1]: 1 spaces them evenly, with 0.5 each distance is half of the one before.
        timesteps: the captured timesteps, from noise to clean; replaces `captures` and `shrink`.
        seed: base seed of the noises, in [0, 2**63).
        format: layout of the store in `storage.layouts.LAYOUTS`: "zarr", "webdataset", or one that a package adds.
        dtype: "float16" or "float32".
        noise: "stored", or "seeded": readers draw it again from the seed, to the same values.
        resolutions: stored resolution `(H_k, W_k)` of each captured timestep, the noise's first; None: full resolution.
        uint8: `(timestep, low, high)` of nearly clean states that are stored as uint8 codes of this range.
        shard_samples: samples per shard, a multiple of `block_samples`; None: at most 512, and at most 64 MiB if 8
            samples fit into that.
        block_samples: samples per chunk of the store, and at most so many per batch of the teacher; None: 128, or as
            many fewer, in powers of two, as fit into 64 MiB.
        micro_batch: samples that go through the teacher's network at once, a divisor of `block_samples`; None: as many
            as fit into the machine's memory, measured (`advkd.teachers.batching`). No part of the identity.
        device: torch device of the teacher, "cpu" or "cuda".
    """

    teacher: str = "digits"
    store: str = "runs/stores"
    samples: int = 8192
    solver: SolverSpec = field(default_factory=SolverSpec)
    captures: int = 4
    shrink: float = 1.0
    timesteps: tuple[int, ...] | None = None
    seed: int = 0
    format: str = "zarr"
    dtype: str = "float16"
    noise: str = "stored"
    resolutions: tuple[tuple[int, int], ...] | None = None
    uint8: tuple[tuple[int, float, float], ...] = ()
    shard_samples: int | None = None
    block_samples: int | None = None
    micro_batch: int | None = None
    precision: str = FLOATS[0]
    device: str = "cpu"

    def __post_init__(self) -> None:
        make_plain(self)
        check_seed(self.seed)
        check_shrink(self.shrink)
        LAYOUTS.choose(self.format, "PrecomputeSpec.format")
        for name, allowed in (("dtype", DTYPES), ("noise", NOISES), ("precision", FLOATS)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"PrecomputeSpec.{name} must be one of {allowed}, got {getattr(self, name)!r}; choose one of them"
                )
        for name in ("samples", "captures", "block_samples", "micro_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"PrecomputeSpec.{name} must be positive, got {value}; use at least 1")
        block = self.block_samples
        if self.shard_samples is not None and (self.shard_samples < 1 or (block and self.shard_samples % block)):
            raise ValueError(
                f"PrecomputeSpec.shard_samples must be a positive multiple of block_samples ({block}), got "
                f"{self.shard_samples}; choose another shard size"
            )
