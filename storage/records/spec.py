"""The identity of a store: everything that decides the bytes of its shards, and the digest of these facts.

`num_samples` is not part of it: a store grows in whole shards, and existing shards do not change.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from typing_extensions import TypeAliasType

from storage.errors import ManifestError
from storage.objects import join
from storage.records.encoding import StateEncoding
from storage.records.seeding import check_seed

LAYOUT_VERSION = 2
"""Version of keys, encodings and records. A reader refuses a newer one."""

DTYPES = ("float16", "float32")
NOISES = ("stored", "seeded")

JSON = TypeAliasType("JSON", "bool | int | float | str | list[JSON] | dict[str, JSON] | None")

_SLUG = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TARGET_SHARD_BYTES = 64 * 2**20
# Shards are computed whole: with a larger bound, a user who needs few small images would pay for thousands.
_LARGEST_SHARD = 2**20
_MIN_SHARD_SAMPLES, _MAX_SHARD_SAMPLES, _MAX_CHUNK_SAMPLES = 8, 512, 128
_MAX_BLOCK_SAMPLES = 256


@dataclass(frozen=True, kw_only=True)
class TrajectorySpec:
    """Everything that decides the stored trajectories, except the number of samples.

    Raises `ValueError` if a field breaks its rule. Sequences may be given as lists.
    """

    teacher: str
    """Slug of the teacher: lower-case letters, digits, '-', '_', '.'."""
    fingerprint: str
    """sha256 (64 hex digits) of the teacher's content."""
    sampler: str
    """"ddim", "ddpm", or any solver's name."""
    deterministic: bool
    """True for an ODE sampler, False for a stochastic one."""
    sampler_config: Mapping[str, JSON]
    """Settings that reproduce the solver."""
    solver_steps: int
    """Steps that the solver takes from noise to clean."""
    timesteps: tuple[int, ...]
    """Captured timesteps, strictly decreasing; the first is the noise itself, the last is 0, the clean state."""
    signal: tuple[float, ...]
    """a_t of each captured timestep, 1.0 at the last."""
    sigma: tuple[float, ...]
    """s_t of each captured timestep, 0.0 at the last."""
    sample_shape: tuple[int, int, int]
    """`[C, H, W]` of one state."""
    base_seed: int
    """Seed from which the noise of every sample follows."""
    space: Mapping[str, JSON] | None = None
    """Facts of the states' space, with its kind; None: pixels."""
    conditioning: Mapping[str, JSON] | None = None
    """Kind of the samples' condition, and the distribution it is drawn from; None: no condition."""
    guidance_scale: float | None = None
    """Classifier-free guidance scale, None without guidance."""
    dtype: str = "float16"
    """Dtype of the states that readers return, and of those stored as floats: "float16" or "float32"."""
    resolutions: tuple[tuple[int, int], ...] | None = None
    """`(H_k, W_k)` of each timestep as stored, divisors of H and W; None is replaced by full resolution."""
    uint8_ranges: tuple[tuple[float, float] | None, ...] | None = None
    """Per timestep, the range of values stored as uint8, or None for floats; None is replaced by floats for all."""
    noise: str = "stored"
    """"stored", or "seeded": x_T is not stored but drawn again from the base seed, to the same values."""
    layout: str = "zarr"
    """Name of the layout in `storage.layouts.LAYOUTS`: "zarr", "webdataset", or one that an installed package adds."""
    shard_samples: int
    """Samples of one shard, the unit of work, loss and extension."""
    block_samples: int
    """Samples of one Zarr chunk and of one batch of the teacher; divides `shard_samples`."""

    def __post_init__(self) -> None:
        for name in ("timesteps", "sample_shape"):
            object.__setattr__(self, name, tuple(_integers(name, getattr(self, name))))
        for name in ("signal", "sigma"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        count, full = len(self.timesteps), tuple(self.sample_shape[1:])
        sizes = [full] * count if self.resolutions is None else self.resolutions
        object.__setattr__(self, "resolutions", tuple(tuple(_integers("resolutions", size)) for size in sizes))
        ranges = [None] * count if self.uint8_ranges is None else self.uint8_ranges
        object.__setattr__(self, "uint8_ranges", tuple(pair and tuple(float(end) for end in pair) for pair in ranges))
        for name in ("sampler_config", "space", "conditioning"):
            object.__setattr__(self, name, _plain_json(name, getattr(self, name)))
        if self.guidance_scale is not None:
            object.__setattr__(self, "guidance_scale", float(self.guidance_scale))
        self._check_names()
        self._check_grid()
        self._check_sizes()
        self._check_encodings()

    @property
    def stored_timesteps(self) -> tuple[int, ...]:
        """The timesteps that are stored: all, or all but the noise."""
        return self.timesteps[1:] if self.noise == "seeded" else self.timesteps

    def encoding(self, timestep: int) -> StateEncoding:
        """Returns the encoding of the states of a captured timestep."""
        position = self.timesteps.index(timestep)
        assert self.resolutions is not None
        assert self.uint8_ranges is not None
        return StateEncoding(
            full_shape=self.sample_shape,
            shape=(self.sample_shape[0], *self.resolutions[position]),
            dtype=self.dtype,
            uint8_range=self.uint8_ranges[position],
        )

    def state_shape(self, timestep: int) -> tuple[int, int, int]:
        """Returns `[C, H_k, W_k]` of the states that readers return for a captured timestep."""
        return self.encoding(timestep).shape

    @property
    def trajectory_bytes(self) -> int:
        """Bytes of all stored states of one sample."""
        return sum(self.encoding(t).state_bytes for t in self.stored_timesteps)

    def num_shards(self, num_samples: int) -> int:
        """Returns the number of whole shards that hold `num_samples` samples."""
        if num_samples < 1:
            raise ValueError(f"a store holds at least one sample, got num_samples={num_samples}; ask for 1 or more")
        return -(-num_samples // self.shard_samples)

    def to_json(self) -> dict[str, JSON]:
        """Returns all fields as plain JSON; `from_json` is its inverse."""
        return {field.name: _lists(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, data: object) -> "TrajectorySpec":
        """Inverts `to_json`; raises `ManifestError` for unknown, missing or bad fields."""
        known = {field.name for field in fields(cls)}
        if not isinstance(data, dict) or set(data) != known:
            fault = sorted(set(data) ^ known) if isinstance(data, dict) else type(data).__name__
            raise ManifestError(
                f"a stored TrajectorySpec has exactly the fields of layout version {LAYOUT_VERSION}; unknown or "
                f"missing: {fault}; open the store with the release that wrote it"
            )
        try:
            return cls(**data)
        except (ValueError, TypeError) as error:
            raise ManifestError(f"a stored TrajectorySpec must be valid: {error}") from error

    def _check_names(self) -> None:
        if not _SLUG.fullmatch(self.teacher):
            raise ValueError(
                f"TrajectorySpec.teacher must be a slug of lower-case letters, digits, '-', '_' and '.', "
                f"not starting with '.', got {self.teacher!r}; rename it"
            )
        # Whether the layout exists is checked by the rooms above this one.
        if not isinstance(self.layout, str) or not _SLUG.fullmatch(self.layout):
            raise ValueError(
                f"TrajectorySpec.layout must be the name of a layout, in lower-case letters, digits, '-', '_' and '.', "
                f"got {self.layout!r}; choose one, as zarr"
            )
        if not _SHA256.fullmatch(self.fingerprint):
            raise ValueError(
                f"TrajectorySpec.fingerprint must be 64 hex digits of sha256, got {self.fingerprint!r}; "
                "hash the teacher's files"
            )
        if not self.sampler:
            raise ValueError("TrajectorySpec.sampler must be the solver's name, got ''; name it")
        choices = (("dtype", self.dtype, DTYPES), ("noise", self.noise, NOISES))
        for name, value, allowed in choices:
            if value not in allowed:
                raise ValueError(f"TrajectorySpec.{name} must be one of {allowed}, got {value!r}; choose one of them")

    def _check_grid(self) -> None:
        grid = self.timesteps
        if len(grid) < 2 or any(a <= b for a, b in pairwise(grid)):
            raise ValueError(
                f"TrajectorySpec.timesteps must be strictly decreasing with two or more entries, got {grid}; "
                "sort them from noise to clean"
            )
        if grid[-1] != 0:
            raise ValueError(f"TrajectorySpec.timesteps must end with 0, the clean state, got {grid}; append 0")
        for name, values, clean in (("signal", self.signal, 1.0), ("sigma", self.sigma, 0.0)):
            if len(values) != len(grid) or not all(math.isfinite(v) and v >= 0 for v in values) or values[-1] != clean:
                raise ValueError(
                    f"TrajectorySpec.{name} must hold one finite value >= 0 per timestep, {clean} at the last, got "
                    f"{values} for {len(grid)} timesteps; take them from the teacher's schedule"
                )

    def _check_sizes(self) -> None:
        check_seed(self.base_seed)
        if len(self.sample_shape) != 3 or min(self.sample_shape) < 1:
            raise ValueError(
                f"TrajectorySpec.sample_shape must be [C, H, W], all positive, got {self.sample_shape}; "
                "add the channel axis"
            )
        for name in ("solver_steps", "shard_samples", "block_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrajectorySpec.{name} must be positive, got {getattr(self, name)}; use 1 or more")
        if self.shard_samples > _LARGEST_SHARD:
            raise ValueError(
                f"TrajectorySpec.shard_samples must be at most {_LARGEST_SHARD}, got {self.shard_samples}; use more, "
                "smaller shards"
            )
        if self.shard_samples % self.block_samples:
            raise ValueError(
                f"TrajectorySpec.block_samples must divide shard_samples, got {self.block_samples} and "
                f"{self.shard_samples}; choose powers of two"
            )

    def _check_encodings(self) -> None:
        _, height, width = self.sample_shape
        sizes, ranges = self.resolutions or (), self.uint8_ranges or ()
        for name, values in (("resolutions", sizes), ("uint8_ranges", ranges)):
            if len(values) != len(self.timesteps) or any(pair is not None and len(pair) != 2 for pair in values):
                raise ValueError(
                    f"TrajectorySpec.{name} must hold one pair per timestep, got {values} for {len(self.timesteps)} "
                    "timesteps; give as many, from noise to clean"
                )
        if any(h < 1 or w < 1 or height % h or width % w for h, w in sizes):
            raise ValueError(
                f"TrajectorySpec.resolutions must divide the sample's {height}x{width}, as a smaller one holds means "
                f"over boxes, got {sizes}; choose divisors"
            )
        if any(
            pair and not (math.isfinite(pair[0]) and math.isfinite(pair[1]) and pair[0] < pair[1]) for pair in ranges
        ):
            raise ValueError(
                f"TrajectorySpec.uint8_ranges must hold finite pairs (low, high), low < high, got {ranges}; declare "
                "the range of the states' values"
            )
        largest = {"float16": 65504.0, "float32": 3.4e38}[self.dtype]
        if any(pair and max(abs(pair[0]), abs(pair[1])) > largest for pair in ranges):
            raise ValueError(
                f"TrajectorySpec.uint8_ranges must fit {self.dtype}, in which readers get the values, got {ranges}; "
                "use float32, or declare a smaller range"
            )
        if ranges[0] is not None:
            raise ValueError(
                f"the noise has no bounds, so its timestep {self.timesteps[0]} cannot be stored as uint8, got the "
                f'range {ranges[0]}; store it as floats, or not at all (noise="seeded")'
            )


def digest(spec: TrajectorySpec) -> str:
    """Returns the sha256 (64 hex digits) of the canonical JSON of spec and layout version, which names the store."""
    identity = {"layout_version": LAYOUT_VERSION, "spec": spec.to_json()}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def store_uri(root: str, spec: TrajectorySpec) -> str:
    """Returns the URI of the store of a spec: `<root>/<teacher>/<first 16 digits of the digest>`."""
    return join(root, spec.teacher, digest(spec)[:16])


def default_shard_samples(trajectory_bytes: int) -> int:
    """Returns the samples of a shard of at most 64 MiB: a power of two in [8, 512], or 8 if even these are larger.

    Args:
        trajectory_bytes: bytes of all stored states of one sample (`TrajectorySpec.trajectory_bytes`).
    """
    return min(_MAX_SHARD_SAMPLES, max(_MIN_SHARD_SAMPLES, _fitting(trajectory_bytes)))


def default_block_samples(trajectory_bytes: int) -> int:
    """Returns the samples of a block of at most 64 MiB: a power of two in [1, 128]; see `default_shard_samples`."""
    return min(_MAX_CHUNK_SAMPLES, _fitting(trajectory_bytes))


def _fitting(trajectory_bytes: int) -> int:
    """Returns the largest power of two of samples that is at most 64 MiB, 1 if none is."""
    fitting = max(1, _TARGET_SHARD_BYTES // max(1, trajectory_bytes))
    return 1 << (fitting.bit_length() - 1)


def _integers(name: str, values: Any) -> list[int]:
    if any(int(value) != value for value in values):
        raise ValueError(f"TrajectorySpec.{name} must hold whole numbers, got {values}; round them")
    return [int(value) for value in values]


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _plain_json(name: str, value: object) -> Any:
    """Returns a copy after a JSON round trip."""
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=_refuse_or_mapping))
    except (TypeError, ValueError) as error:
        raise ValueError(f"TrajectorySpec.{name} must be plain JSON without NaN, {error}; convert it first") from error


def _refuse_or_mapping(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"got {type(value).__name__}")
