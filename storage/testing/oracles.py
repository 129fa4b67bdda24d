"""Oracles of what a store must hold to the bit, and observers of writes and requests."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from storage import Batch, States, TrajectorySpec, open_store, read_identity
from storage.care import Role, StoreKeys
from storage.objects import LocalObjects, S3Objects
from storage.reading import DirectSource
from storage.testing.damage import Contents, contents
from storage.testing.trajectories import make_spec, states_of

KINDS = ("zarr", "webdataset", "float32", "uint8", "seeded", "pyramid", "all")
"""Kinds of specs, all of which the loader must read alike."""


def spec_of_kind(kind: str, **changes: Any) -> TrajectorySpec:
    """Returns a small spec: of a layout, or of an encoding in Zarr; "all" has all encodings at once, in a tar."""
    # The pretend teacher's states: the noise itself first, and at the end what stays within a range.
    uint8 = {"uint8_ranges": (None, (-2.5, 2.5), (-1.0, 1.0)), "signal": (0.0, 1.0, 1.0), "sigma": (1.0, 0.0, 0.0)}
    seeded = {"noise": "seeded", "signal": (0.0, 0.5, 1.0), "sigma": (1.0, 0.8, 0.0)}
    pyramid = {"resolutions": ((2, 2), (4, 2), (1, 1))}
    fields: dict[str, dict[str, Any]] = {
        "zarr": {},
        "webdataset": {"layout": "webdataset"},
        "float32": {"dtype": "float32"},
        "uint8": uint8,
        "seeded": seeded,
        "pyramid": pyramid,
        "all": {"layout": "webdataset"} | seeded | uint8 | pyramid,
    }
    return make_spec(**(fields[kind] | changes))


def shown_states(spec: TrajectorySpec, start: int, stop: int) -> States:
    """Returns what readers must return for samples `start` to `stop - 1`: the teacher's states, encoded and decoded."""
    shown: States = {}
    for t, values in states_of(spec, start, stop).items():
        encoding = spec.encoding(t)
        shown[t] = encoding.decode(encoding.encode(encoding.reduced(values)))
    return shown


def assert_states(actual: States, expected: States, samples: Sequence[int] | npt.NDArray[np.int64]) -> None:
    """Asserts that states have the expected bits for some samples."""
    assert len(actual) > 0
    for t, values in actual.items():
        assert values.dtype == expected[t].dtype
        np.testing.assert_array_equal(values, expected[t][np.asarray(samples, dtype=np.int64)])


def assert_holds(uri: str, spec: TrajectorySpec, num_samples: int) -> None:
    """Asserts that every sample has the teacher's states, to the bit, in whole shards and as single samples."""
    expected, reader = shown_states(spec, 0, num_samples), open_store(uri)
    assert reader.manifest.num_samples == num_samples
    for shard in range(reader.manifest.num_shards):
        assert_states(reader.read_shard(shard), expected, reader.manifest.shard_range(shard))
    samples = np.random.default_rng(0).permutation(num_samples)
    assert_states(reader.read_samples(samples.tolist()), expected, samples)
    assert_states(reader.read_samples([num_samples - 1]), expected, [num_samples - 1])


def assert_same_batches(actual: Iterable[Batch], expected: Iterable[Batch]) -> None:
    """Asserts that there are as many batches, with the same samples in the same order and the same bits."""
    for batch, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(batch.indices, other.indices)
        assert list(batch.states) == list(other.states)
        assert_states(batch.states, other.states, np.arange(len(other.indices)))


def snapshot(uri: str) -> Contents:
    """Returns every data object of a store, without metadata for other tools; none if there is no store."""
    objects = contents(uri)
    return only_data(read_identity(uri), objects) if objects else objects


def only_data(spec: TrajectorySpec, objects: Contents) -> Contents:
    """Returns the data objects among those of a store."""
    keys = StoreKeys(spec)
    return Contents({key: data for key, data in objects.items() if keys.role(key) is Role.DATA})


def watch_writes(monkeypatch: pytest.MonkeyPatch, around: Callable[[str, Callable[[], None]], None]) -> None:
    """Replaces every write of an object, local or in S3, by `around(its address, the write)`."""
    for kind in (LocalObjects, S3Objects):

        def watched(
            self: Any, path: str, data: bytes, original: Callable[[Any, str, bytes], None] = kind.write
        ) -> None:
            around(path, lambda: original(self, path, data))

        monkeypatch.setattr(kind, "write", watched)


def count_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list that collects the keys of all data objects requested from stores, past all caches."""
    asked: list[str] = []
    original = DirectSource.read_into

    def counted(self: DirectSource, entry: Any, allocate: Any) -> int:
        asked.append(entry.key)
        return original(self, entry, allocate)

    monkeypatch.setattr(DirectSource, "read_into", counted)
    return asked


def reading_threads() -> list[str]:
    """Returns the names of the loader's threads that are alive."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("advkd-read")]
