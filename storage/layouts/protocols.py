"""The protocols of writers, readers and layouts. `table.py` has the table of layouts.

Shapes: `S` samples of a whole shard, `n` samples of a shard that readers see, `[C, H_k, W_k]` one state as stored.
Stored arrays have the dtype in the objects (`StateEncoding.stored_dtype`), states that of readers (`spec.dtype`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from storage.records import CommitRecord, Manifest, StateEncoding, TrajectorySpec

States: TypeAlias = dict[int, npt.NDArray[Any]]
"""Timestep -> states `[B, C, H_k, W_k]`."""

Place: TypeAlias = Callable[[int], npt.NDArray[Any]]
"""Returns the array of a timestep into which a shard is read: stored dtype, `[S, C, H_k, W_k]`, C-contiguous."""


class Buffer(Protocol):
    """A shard that is being filled, block by block; only `commit` publishes it."""

    @property
    def index(self) -> int:
        """Number of the shard."""

    def put(self, row: int, states: Mapping[int, npt.NDArray[Any]]) -> None:
        """Encodes the states of the rows from `row` on; each row must be put once.

        Args:
            row: first row within the shard, 0 or more.
            states: states of exactly the spec's timesteps, `[B, C, H, W]` of a floating dtype, in full resolution.

        Raises:
            ValueError: timesteps, shapes or dtypes are wrong, or rows are out of range or were put before.
            NonFiniteError: NaN, infinity or overflow of the stored dtype.
            ValueRangeError: a value is outside of the range that was declared for uint8.
        """

    def commit(self, *, elapsed_seconds: float | None = None) -> CommitRecord:
        """Writes the shard, data first and its commit record last; raises `ValueError` if rows are missing.

        Args:
            elapsed_seconds: time that computing the shard took, for the records.
        """


class Writer(Protocol):
    """Adds whole shards to the store of a spec; any number of writers may work at once. Thread-safe."""

    @property
    def uri(self) -> str:
        """The store."""

    def begin(self, index: int) -> Buffer:
        """Returns an empty buffer for shard `index`, in memory for one shard; raises `ValueError` below 0."""

    def write_shard(
        self, index: int, states: Mapping[int, npt.NDArray[Any]], *, elapsed_seconds: float | None = None
    ) -> CommitRecord:
        """Writes shard `index` from states `[S, C, H, W]`: `begin`, `put` and `commit` in one, with their errors."""

    def copy_shard(self, stored: States, record: CommitRecord) -> CommitRecord:
        """Writes a shard that another store holds, bit for bit.

        Args:
            stored: stored arrays `[S, C, H_k, W_k]` of the stored timesteps, from `Reader.read_stored`.
            record: the shard's record in the other store; its statistics and run facts are kept.
        """


class Reader(Protocol):
    """Reads a sealed store, as it was when the reader was opened. Thread-safe, can be sent to spawned processes."""

    @property
    def uri(self) -> str:
        """The store."""

    @property
    def manifest(self) -> Manifest:
        """Manifest of the store."""

    def read_shard(self, index: int, timesteps: Sequence[int] | None = None) -> States:
        """Reads the states of a shard, `[n, C, H_k, W_k]` in the spec's dtype; all timesteps if None.

        Raises:
            ShardCorruptError: an object is missing, short or changed.
            GridMismatchError: a timestep was not captured.
        """

    def read_samples(self, indices: Sequence[int], timesteps: Sequence[int] | None = None) -> States:
        """Reads the states of some samples, `[len(indices), C, H_k, W_k]`, in the order of `indices`.

        Few samples of a shard are read in ranges, which are compared with crc32 values. Raises the errors of
        `read_shard`.
        """

    def read_stored(self, index: int, timesteps: Sequence[int] | None = None, place: Place | None = None) -> States:
        """Reads the stored arrays of a whole shard, `[S, C, H_k, W_k]`, including hidden samples.

        Args:
            index: number of the shard.
            timesteps: stored timesteps to read, all if None.
            place: returns the array of a timestep to read into; called once an object has the right size. None: new
                arrays.
        """


class Extent(NamedTuple):
    """Where the stored states of consecutive rows of one timestep lie in an object, at equal distances."""

    position: int
    """Position of the object among the layout's templates."""
    timestep: int
    rows: range
    """Rows of the shard."""
    start: int
    """First byte, within the object, of the state of the first row."""
    stride: int
    """Bytes from there to the state of the next row; the size of a state if states are contiguous."""

    def view(self, data: bytes | bytearray | memoryview, encoding: StateEncoding) -> npt.NDArray[Any]:
        """Returns the states in the bytes of the object, `[rows, C, H_k, W_k]`, without a copy."""
        dtype, strides = np.dtype(encoding.stored_dtype), [self.stride]
        for length in encoding.shape:
            strides.append(strides[-1] // length if len(strides) > 1 else encoding.state_bytes // length)
        shape = (len(self.rows), *encoding.shape)
        return np.ndarray(shape, dtype, buffer=data, offset=self.start, strides=strides)


class Layout(Protocol):
    """Converts shards to objects, and tells where states lie in them. Does no input or output.

    Objects have fixed sizes, and states lie at the same places in every shard. So readers fetch and check bytes, and
    never need the content of an object to find a state.
    """

    def templates(self, spec: TrajectorySpec) -> tuple[str, ...]:
        """Returns the keys of a shard's objects, with `{shard}` or `{shard:06d}` for its number."""

    def object_bytes(self, spec: TrajectorySpec) -> tuple[int, ...]:
        """Returns the sizes of these objects in bytes, which are the same in every shard."""

    def encode(self, spec: TrajectorySpec, shard: int, stored: States) -> Iterator[bytes]:
        """Yields the objects of a shard, in the order of the templates; the same arrays give the same bytes."""

    def extents(self, spec: TrajectorySpec, timesteps: Sequence[int], rows: range) -> Iterator[Extent]:
        """Yields where the states of some rows of stored timesteps lie, in any order and without overlaps.

        All rows of a timestep lie in one object. Extents are made one by one, without memory of a shard's size.
        """

    def metadata(self, spec: TrajectorySpec, num_samples: int) -> dict[str, bytes]:
        """Returns the objects, by key, that other tools need in addition to the shards."""
