"""What a store offers and what a layout must provide. `layouts.py` is the one table of layouts.

Shapes: `S` samples of a whole shard, `n` samples that a shard shows, `[C, H, W]` one state.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

from storage.commits import CommitRecord
from storage.manifest import Manifest
from storage.spec import TrajectorySpec

States: TypeAlias = dict[int, npt.NDArray[Any]]
"""Timestep -> states `[B, C, H, W]`."""


class Writer(Protocol):
    """Adds whole shards to the store of one spec; any number of writers may work at once."""

    @property
    def uri(self) -> str:
        """The store."""

    def write_shard(
        self, index: int, states: Mapping[int, npt.NDArray[Any]], *, elapsed_seconds: float | None = None
    ) -> CommitRecord:
        """Write shard `index`, data first and its commit record last.

        Args:
            index: Number of the shard, 0 or more.
            states: For exactly the spec's timesteps, `[S, C, H, W]` of a floating dtype.
            elapsed_seconds: What computing it took, for the records.

        Raises:
            ValueError: Other timesteps, shapes or dtypes.
            NonFiniteError: NaN, infinity or overflow of the stored dtype; nothing is written.
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
        """The states of one shard, `[n, C, H, W]` in the stored dtype, all timesteps if None.

        Raises:
            ShardCorruptError: An object is missing, short or changed.
            GridMismatchError: A timestep was not captured.
        """

    def read_samples(self, indices: Sequence[int], timesteps: Sequence[int] | None = None) -> States:
        """The states of some samples, `[len(indices), C, H, W]`, in the order asked for."""


class Layout(Protocol):
    """How shards become objects. Pure: bytes in, bytes out."""

    def templates(self, spec: TrajectorySpec) -> tuple[str, ...]:
        """Keys of the objects of one shard, `{shard}` standing for its number."""

    def encode(self, spec: TrajectorySpec, shard: int, states: States) -> list[bytes]:
        """The objects of one shard, in the order of the templates; the same states give the same bytes."""

    def decode(
        self, spec: TrajectorySpec, shard: int, timesteps: Sequence[int], fetch: Callable[[int], bytes]
    ) -> States:
        """The states `[S, C, H, W]` of some timesteps; `fetch(i)` gives the checked object of template `i`."""

    def metadata(self, spec: TrajectorySpec, num_samples: int) -> dict[str, bytes]:
        """Objects by key that people's own tools need beside the shards."""
