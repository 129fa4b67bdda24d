"""Reading shards: fetch, check, decode through the layout, show only the samples that the manifest shows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from storage.base import States
from storage.errors import GridMismatchError, ManifestError, ShardCorruptError
from storage.integrity import ShardProblem, object_problem, open_manifest, read_if_there
from storage.layouts import layout_of
from storage.manifest import Manifest


class ShardReader:
    """The `Reader` of one sealed store. Hashes are checked when an object is first read, sizes always."""

    def __init__(self, uri: str, manifest: Manifest) -> None:
        self.uri = uri
        self.manifest = manifest
        self._layout = layout_of(manifest.spec)
        self._hashed: set[tuple[int, int]] = set()
        if manifest.shards.templates != self._layout.templates(manifest.spec):
            raise ManifestError(
                f"a {manifest.spec.layout} store keeps its shards in {self._layout.templates(manifest.spec)}, but the "
                f"manifest of {uri} lists {manifest.shards.templates}; restore it, or open the store with the release "
                "that wrote it"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # A spawned process opens the store for itself and trusts nothing that this one has checked.
        return type(self), (self.uri, self.manifest)

    def read_shard(self, index: int, timesteps: Sequence[int] | None = None) -> States:
        """See `base.Reader.read_shard`."""
        manifest = self.manifest
        if not 0 <= index < manifest.num_shards:
            raise IndexError(f"{self.uri} has shards 0 to {manifest.num_shards - 1}, got {index}; ask for one of them")
        wanted = captured_timesteps(manifest, timesteps)
        try:
            states = self._layout.decode(manifest.spec, index, wanted, lambda position: self._fetch(index, position))
        except (ValueError, KeyError, RuntimeError) as error:
            key = manifest.shards.entries(index)[0].key
            problem = ShardProblem(
                uri=self.uri, shard=index, key=key, expected=f"a {manifest.spec.layout} shard", found=str(error)
            )
            raise ShardCorruptError(problem.message) from error
        shown = len(manifest.shard_range(index))
        return {t: values[:shown] for t, values in states.items()}

    def read_samples(self, indices: Sequence[int], timesteps: Sequence[int] | None = None) -> States:
        """See `base.Reader.read_samples`."""
        manifest = self.manifest
        samples = np.asarray(indices, dtype=np.int64)
        if samples.size and not 0 <= samples.min() <= samples.max() < manifest.num_samples:
            raise IndexError(
                f"{self.uri} shows samples 0 to {manifest.num_samples - 1}, got {samples.min()} to {samples.max()}; "
                "ask for fewer or extend the store"
            )
        wanted = captured_timesteps(manifest, timesteps)
        shape = (len(samples), *manifest.spec.sample_shape)
        states: States = {t: np.empty(shape, dtype=manifest.spec.dtype) for t in wanted}
        shards, rows = np.divmod(samples, manifest.spec.shard_samples)
        for shard in np.unique(shards):
            here = shards == shard
            for t, values in self.read_shard(int(shard), wanted).items():
                states[t][here] = values[rows[here]]
        return states

    def _fetch(self, shard: int, position: int) -> bytes:
        entry = self.manifest.shards.entries(shard)[position]
        data = read_if_there(self.uri, entry.key)
        with_hash = (shard, position) not in self._hashed
        problem = object_problem(self.uri, shard, entry, data, with_hash=with_hash)
        if problem is not None or data is None:
            raise ShardCorruptError(problem.message if problem else entry.key)
        self._hashed.add((shard, position))
        return data


def open_store(uri: str) -> ShardReader:
    """A reader of the sealed store at a URI.

    Raises:
        StoreNotFoundError: There is no store.
        StoreIncompleteError: It is still growing.
        ManifestError: Its manifest is foreign, newer, damaged or inconsistent.
    """
    return ShardReader(uri, open_manifest(uri))


def captured_timesteps(manifest: Manifest, timesteps: Sequence[int] | None) -> tuple[int, ...]:
    """The timesteps asked for, all if None; `GridMismatchError` unless every one was captured (law 6)."""
    if timesteps is None:
        return manifest.spec.timesteps
    wanted = tuple(int(t) for t in timesteps)
    if not wanted or not set(wanted) <= set(manifest.spec.timesteps):
        raise GridMismatchError(
            f"a trainer's time grid must be a subset of the store's, got {wanted} for a store that captured "
            f"{manifest.spec.timesteps}; choose among these, or precompute a store with the grid you need"
        )
    return wanted
