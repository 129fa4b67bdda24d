"""What a store offers and what a layout must provide. `table.py` is the one table of layouts.

Shapes: `S` samples of a whole shard, `n` samples that a shard shows, `[C, H_k, W_k]` one state as it is stored.
Stored arrays hold what the objects hold (`StateEncoding.stored_dtype`), states what readers want (`spec.dtype`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from storage.records import CommitRecord, Manifest, StateEncoding, TrajectorySpec

States: TypeAlias = dict[int, npt.NDArray[Any]]
"""Timestep -> states `[B, C, H_k, W_k]`."""

Place: TypeAlias = Callable[[int], npt.NDArray[Any]]
"""Gives the array of a timestep into which a whole shard is read: stored dtype, `[S, C, H_k, W_k]`, C-contiguous."""


class Buffer(Protocol):
    """One shard that is being filled, block after block; published by `commit` alone."""

    @property
    def index(self) -> int:
        """Number of the shard."""

    def put(self, row: int, states: Mapping[int, npt.NDArray[Any]]) -> None:
        """Encodes the states of rows `row` and following, each row once.

        Args:
            row: first row within the shard, 0 or more.
            states: for exactly the spec's timesteps, `[B, C, H, W]` of a floating dtype, in full resolution.

        Raises:
            ValueError: other timesteps, shapes or dtypes, rows out of range or put before.
            NonFiniteError: NaN, infinity or overflow of the stored dtype.
            ValueRangeError: a value outside of the range that was declared for uint8.
        """

    def commit(self, *, elapsed_seconds: float | None = None) -> CommitRecord:
        """Writes the shard, data first and its commit record last; `ValueError` while rows are missing.

        Args:
            elapsed_seconds: what computing it took, for the records.
        """


class Writer(Protocol):
    """Adds whole shards to the store of one spec; any number of writers may work at once. Thread-safe."""

    @property
    def uri(self) -> str:
        """The store."""

    def begin(self, index: int) -> Buffer:
        """An empty buffer for shard `index`; holds one shard as it will be stored. `ValueError` below 0."""

    def write_shard(
        self, index: int, states: Mapping[int, npt.NDArray[Any]], *, elapsed_seconds: float | None = None
    ) -> CommitRecord:
        """Writes shard `index` from states `[S, C, H, W]`: `begin`, `put` and `commit` in one, with their errors."""

    def copy_shard(self, stored: States, record: CommitRecord) -> CommitRecord:
        """Writes a shard that another store holds, bit for bit.

        Args:
            stored: stored arrays `[S, C, H_k, W_k]` of the stored timesteps, from `Reader.read_stored`.
            record: the other store's; its statistics and run facts are kept.
        """


class Reader(Protocol):
    """Reads a sealed store; sees what was sealed when it was opened. Thread-safe, re-openable after spawn."""

    @property
    def uri(self) -> str:
        """The store."""

    @property
    def manifest(self) -> Manifest:
        """Everything that is known about it."""

    def read_shard(self, index: int, timesteps: Sequence[int] | None = None) -> States:
        """The states of one shard, `[n, C, H_k, W_k]` in the spec's dtype, all timesteps if None.

        Raises:
            ShardCorruptError: an object is missing, short or changed.
            GridMismatchError: a timestep was not captured.
        """

    def read_samples(self, indices: Sequence[int], timesteps: Sequence[int] | None = None) -> States:
        """The states of some samples, `[len(indices), C, H_k, W_k]`, in the order asked for.

        A few samples of a shard are ranged reads, checked by their crc32c; errors are those of `read_shard`.
        """

    def read_stored(self, index: int, timesteps: Sequence[int] | None = None, place: Place | None = None) -> States:
        """Stored arrays of a whole shard, `[S, C, H_k, W_k]`, the tail that a store hides included.

        Args:
            index: number of the shard.
            timesteps: which, all if None.
            place: where to; called once the objects are known to be of their sizes. None: into new arrays.
        """


class Extent(NamedTuple):
    """Where the stored states of consecutive rows of one timestep lie in an object, at equal distances."""

    position: int
    """Of the object among the layout's templates."""
    timestep: int
    rows: range
    """Rows of the shard."""
    start: int
    """First byte, within the object, of the state of the first row."""
    stride: int
    """Bytes from there to the next row's; those of a state where they lie back to back."""

    def view(self, data: bytes | bytearray | memoryview, encoding: StateEncoding) -> npt.NDArray[Any]:
        """The states in the bytes of the object, `[rows, C, H_k, W_k]`, without a copy."""
        dtype, strides = np.dtype(encoding.stored_dtype), [self.stride]
        for length in encoding.shape:
            strides.append(strides[-1] // length if len(strides) > 1 else encoding.state_bytes // length)
        shape = (len(self.rows), *encoding.shape)
        return np.ndarray(shape, dtype, buffer=data, offset=self.start, strides=strides)


class Layout(Protocol):
    """How shards become objects, and where their states lie in them. Does no input or output.

    Objects have fixed sizes, and the states lie at the same places in every shard. So readers fetch and check bytes by
    themselves and never ask the content of an object where anything is.
    """

    def templates(self, spec: TrajectorySpec) -> tuple[str, ...]:
        """Keys of the objects of one shard, `{shard}` or `{shard:06d}` standing for its number."""

    def object_bytes(self, spec: TrajectorySpec) -> tuple[int, ...]:
        """Sizes of these objects, the same in every shard."""

    def encode(self, spec: TrajectorySpec, shard: int, stored: States) -> Iterator[bytes]:
        """The objects of one shard, in the order of the templates; the same arrays give the same bytes."""

    def extents(self, spec: TrajectorySpec, timesteps: Sequence[int], rows: range) -> Iterator[Extent]:
        """Where the states of some rows of some stored timesteps lie, in any order and without overlaps.

        All rows of a timestep lie in one object. Extents are made one by one: nothing of a shard's size is allocated.
        """

    def metadata(self, spec: TrajectorySpec, num_samples: int) -> dict[str, bytes]:
        """Objects by key that people's own tools need beside the shards."""
