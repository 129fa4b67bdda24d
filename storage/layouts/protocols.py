"""What a store offers and what a layout must provide. `layouts.py` is the one table of layouts.

Shapes: `S` samples of a whole shard, `n` samples that a shard shows, `[C, H_k, W_k]` one state as it is stored.
Stored arrays hold what the objects hold (`StateEncoding.stored_dtype`), states what readers want (`spec.dtype`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from storage.records import CommitRecord, Manifest, TrajectorySpec

States: TypeAlias = dict[int, npt.NDArray[Any]]
"""Timestep -> states `[B, C, H_k, W_k]`."""

Place: TypeAlias = Callable[[int], npt.NDArray[Any]]
"""Gives the array of a timestep into which a whole shard is read: stored dtype, `[S, C, H_k, W_k]`, C-contiguous."""

Fetch: TypeAlias = Callable[[int, int, Callable[[], Sequence[memoryview]]], None]
"""`fetch(i, size, parts)` lays the checked object of template `i`, `size` bytes, into the parts; memory for them is
taken when the object is known to be of that size. An object that is not what was committed raises."""

FetchPieces: TypeAlias = Callable[[int, int, Collection[int]], Mapping[int, bytes]]
"""`fetch_pieces(i, size, numbers)` gives pieces of the object of template `i` by number, unchecked: piece `n` is its
`size` bytes from `n * size` on. An object that ends before raises."""

Checksums: TypeAlias = Sequence[Sequence[int] | npt.NDArray[np.int64]]
"""For every template the crc32c of the pieces of its object, out of records that were checked."""


class Buffer(Protocol):
    """One shard that is being filled, block after block; published by `commit` alone."""

    @property
    def index(self) -> int:
        """Number of the shard."""

    def put(self, row: int, states: Mapping[int, npt.NDArray[Any]]) -> None:
        """Encode the states of rows `row` and following, each row once.

        Args:
            row: First row within the shard, 0 or more.
            states: For exactly the spec's timesteps, `[B, C, H, W]` of a floating dtype, in full resolution.

        Raises:
            ValueError: Other timesteps, shapes or dtypes, rows out of range or put before.
            NonFiniteError: NaN, infinity or overflow of the stored dtype.
            ValueRangeError: A value outside of the range that was declared for uint8.
        """

    def commit(self, *, elapsed_seconds: float | None = None) -> CommitRecord:
        """Write the shard, data first and its commit record last; `ValueError` while rows are missing.

        Args:
            elapsed_seconds: What computing it took, for the records.
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
        """Write shard `index` from states `[S, C, H, W]`: `begin`, `put` and `commit` in one, with their errors."""

    def copy_shard(self, stored: States, record: CommitRecord) -> CommitRecord:
        """Write a shard that another store holds, bit for bit.

        Args:
            stored: Stored arrays `[S, C, H_k, W_k]` of the stored timesteps, from `Reader.read_stored`.
            record: The other store's; its statistics and run facts are kept.
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
            ShardCorruptError: An object is missing, short or changed.
            GridMismatchError: A timestep was not captured.
        """

    def read_samples(self, indices: Sequence[int], timesteps: Sequence[int] | None = None) -> States:
        """The states of some samples, `[len(indices), C, H_k, W_k]`, in the order asked for.

        A few samples of a shard are ranged reads, checked by their crc32c; errors are those of `read_shard`.
        """

    def read_stored(self, index: int, timesteps: Sequence[int] | None = None, place: Place | None = None) -> States:
        """Stored arrays of a whole shard, `[S, C, H_k, W_k]`, the tail that a store hides included.

        Args:
            index: Number of the shard.
            timesteps: Which, all if None.
            place: Where to; called once the objects are known to be of their sizes. None: into new arrays.
        """


class Layout(Protocol):
    """How shards become objects, and back. Does no input or output itself."""

    def templates(self, spec: TrajectorySpec) -> tuple[str, ...]:
        """Keys of the objects of one shard, `{shard}` standing for its number."""

    def object_bytes(self, spec: TrajectorySpec) -> tuple[int, ...]:
        """Sizes of these objects, the same in every shard."""

    def encode(self, spec: TrajectorySpec, shard: int, stored: States) -> list[bytes]:
        """The objects of one shard, in the order of the templates; the same arrays give the same bytes."""

    def chunk_crc32c(self, spec: TrajectorySpec, objects: Sequence[bytes]) -> list[tuple[int, ...]]:
        """For every object of a shard the crc32c of its chunks, which go into the commit record."""

    def read(self, spec: TrajectorySpec, shard: int, timesteps: Sequence[int], fetch: Fetch, place: Place) -> None:
        """Lay stored timesteps of a shard where `place` says; `ValueError` for an object of another content."""

    def checksums(self, spec: TrajectorySpec, shard: int, fetch: Fetch, recorded: Callable[[], Checksums]) -> Checksums:
        """The crc32c that `read_rows` compares with: of the shard's record, or out of an index beside the data.

        A checksum that lies within the data is not enough: it goes along when objects are swapped.
        """

    def read_rows(
        self,
        spec: TrajectorySpec,
        shard: int,
        rows: Sequence[int],
        timesteps: Sequence[int],
        fetch_pieces: FetchPieces,
        checksums: Checksums,
    ) -> States:
        """Stored arrays `[len(rows), C, H_k, W_k]` by ranged reads, each piece compared with its crc32c."""

    def metadata(self, spec: TrajectorySpec, num_samples: int) -> dict[str, bytes]:
        """Objects by key that people's own tools need beside the shards."""
