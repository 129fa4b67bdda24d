"""A store whose writers are killed, and the laws that it obeys at every instant: what `test_kills.py` is about.

Whatever has a name has the bytes of an undisturbed run's store, what is committed is whole and stays untouched, and
nothing else lies there but unfinished files.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from advkd.teachers import SolverSpec
from advkd.trajectories import PrecomputeSpec, cached_teacher, trajectory_spec
from storage import TrajectorySpec, is_sealed, join, list_prefix, missing_shards, read_bytes, store_uri, verify
from storage.objects.access import list_leftovers
from storage.records.checked_json import load_checked
from storage.records.commits import read_commit
from tests.advkd.trajectories.kill_runner import HUNG_SECONDS, Ending, Fate, Writers

LIVES = Fate()

_SHARDS = 4
_RECORDS = ("commits/", "seals/", "manifest.json")
_RUN_FACTS = {"created", "sealed", "elapsed_seconds", "author"}
"""What these records say about a run and not about the store; all else must be equal."""
_TRIES = 20
"""Rounds per kill, at most: many kills come when the writer has ended already."""


def small_spec(root: str, layout: str) -> PrecomputeSpec:
    """Four shards of two blocks each; the very last sample is hidden."""
    return PrecomputeSpec(
        teacher="mixture",
        store=root,
        samples=4 * _SHARDS - 1,
        solver=SolverSpec(steps=2),
        captures=2,
        shard_samples=4,
        block_samples=2,
        format=layout,
    )


def identity_of(spec: PrecomputeSpec) -> TrajectorySpec:
    """Of the store that a spec asks for."""
    return trajectory_spec(spec, cached_teacher(spec.teacher, spec.device))


def contents(uri: str) -> dict[str, object]:
    """Key -> what every run must write there: the bytes, or of a record all that is no fact of a run."""
    return {key: _meaning(key, read_bytes(join(uri, key))) for key in list_prefix(uri)}


def _meaning(key: str, data: bytes) -> object:
    if key.startswith(_RECORDS):
        # It raises unless the record's own hash is right.
        return {name: value for name, value in load_checked(data).items() if name not in _RUN_FACTS}
    return data


def _is_data(key: str) -> bool:
    return key.startswith("shards/") and not key.endswith("zarr.json")


@dataclass
class Store:
    """A store that writers make, and are killed while they do."""

    writers: Writers
    spec: PrecomputeSpec
    expected: dict[str, object]
    """Contents of an undisturbed run's store."""
    root: Path
    """Where the root of the stores lies on the disk, that of S3 as well."""
    endings: list[Ending] = field(default_factory=list)
    phases: set[str] = field(default_factory=set)
    """In which the last round left it."""

    def __post_init__(self) -> None:
        self.identity = identity_of(self.spec)
        self.uri = store_uri(self.spec.store, self.identity)
        self.folder = Path(store_uri(str(self.root), self.identity))

    @property
    def sealed(self) -> bool:
        return is_sealed(self.spec.store, self.identity, self.spec.samples)

    @property
    def committed(self) -> set[int]:
        return set(range(_SHARDS)) - set(missing_shards(self.spec.store, self.identity, self.spec.samples))

    @property
    def kills(self) -> int:
        """Kills that hit a living process."""
        return sum(ending.killed for ending in self.endings)

    def round(self, *fates: Fate) -> list[Ending]:
        """One writer per fate, all at once; checks what they leave behind."""
        before = self.committed
        marks = {key: self._mark(key) for key in self._keys(before)}
        endings = self.writers.round(self.spec, fates)
        for ending, fate in zip(endings, fates, strict=True):
            assert ending.exit_code == 0 or (ending.killed and fate != LIVES), "a writer that nobody kills succeeds"
            assert ending.seconds < HUNG_SECONDS, "no writer hangs"
        self.endings += endings
        assert self.sealed or all(ending.killed for ending in endings), "a writer that succeeds leaves a sealed store"
        assert self.committed >= before, "what is committed stays committed"
        assert marks == {key: self._mark(key) for key in marks}, "nobody writes a committed shard again"
        self.check()
        return endings

    def check(self) -> None:
        """The laws that hold at every instant."""
        # In this order: what a dead writer has sent last may reach an S3 server only now.
        sealed, committed = self.sealed, self.committed
        found = contents(self.uri)
        assert {key for key in found if key not in self.expected or found[key] != self.expected[key]} == set()
        for shard in committed:
            for entry in read_commit(self.uri, shard).objects:
                data = found[entry.key]
                assert isinstance(data, bytes)
                assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.size, entry.sha256)
        if sealed:
            assert verify(self.uri) == []
            assert set(found) == set(self.expected)
        unfinished = {leftover.key for leftover in list_leftovers(self.uri)}
        if not self.uri.startswith("s3://"):
            on_disk = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}
            assert on_disk == set(found) | unfinished, "all that lies there is an object, or is known as a leftover"
        uncommitted = {key for key in found if _is_data(key)} - self._keys(committed)
        self.phases = {
            phase
            for phase, so in {
                "within a write": unfinished,
                "data without its commit": uncommitted,
                "between two shards": 0 < len(committed) < _SHARDS and not uncommitted and not unfinished,
                "committed, not sealed": len(committed) == _SHARDS and not sealed,
            }.items()
            if so
        }

    def _keys(self, shards: set[int]) -> set[str]:
        """Of the objects and records of committed shards."""
        records = {f"commits/{shard:06d}.json" for shard in shards}
        return records | {entry.key for shard in shards for entry in read_commit(self.uri, shard).objects}

    def _mark(self, key: str) -> tuple[int, int]:
        status = (self.folder / key).stat()
        return status.st_ino, status.st_mtime_ns


def kill_and_resume(make: Callable[[], Store], rounds: Iterator[Sequence[Fate]], kills: int) -> list[Store]:
    """Run precompute, each time on what the last kills left; whoever is killed too late seals a store.

    Returns:
        The sealed stores, after so many kills of living processes.
    """
    stores = [make()]
    for fates in itertools.islice(rounds, _TRIES * kills):
        if sum(store.kills for store in stores) >= kills:
            break
        if stores[-1].sealed:
            stores.append(make())
        stores[-1].round(*fates)
    if not stores[-1].sealed:
        stores[-1].round(LIVES)
    return stores


def require_equal(stores: Sequence[Store]) -> int:
    """Fail unless all stores are those of undisturbed runs; the number of kills on the way."""
    for store in stores:
        assert store.sealed
        assert contents(store.uri) == store.expected
    return sum(store.kills for store in stores)
