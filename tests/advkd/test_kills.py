"""Laws 3 and 4: precompute killed at any instant, by any number of writers, and run again, makes the same store.

After every kill the store is compared with that of an undisturbed run: whatever has a name has the right bytes, what is
committed is whole and stays untouched, and nothing else lies there but unfinished files.
"""

import hashlib
import itertools
import os
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from advkd.precompute import PrecomputeSpec, cached_teacher, trajectory_spec
from advkd.teachers import SolverSpec
from storage import TrajectorySpec, is_sealed, join, list_prefix, missing_shards, read_bytes, store_uri, verify
from storage.checked_json import load_checked
from storage.commits import read_commit
from storage.objects import list_leftovers
from tests.advkd.kill_runner import CommandWriters, Ending, Fate, ForkedWriters, Moment, Writers, forked_writers
from tests.s3_server import S3Server

LAYOUTS = ("zarr", "webdataset")
SEED_VARIABLE = "ADVKD_KILL_SEED"
"""Draws the same instants again."""
KILLS, KILLS_AMONG, COMMAND_KILLS, S3_KILLS = 50, 4, 5, 12
TRIES = 20
"""Draws per kill, at most: many come when the writer has ended already."""
SHARDS = 4
RECORDS = ("commits/", "seals/", "manifest.json")
RUN_FACTS = {"created", "sealed", "elapsed_seconds", "author"}
"""What these records say about a run and not about the store; all else must be equal."""
PHASES = {
    "within a write": Moment("within", "/shards/"),
    "data without its commit": Moment("before", "/commits/"),
    "between two shards": Moment("after", "/commits/"),
    "committed, not sealed": Moment("before", "/manifest.json"),
}
LIVES = Fate()


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedWriters]:
    with forked_writers() as writers:
        yield writers


@dataclass(frozen=True)
class Undisturbed:
    """What a single run makes that nobody disturbs."""

    contents: dict[str, object]
    seconds: float
    instants: int
    """At which it can be killed."""


@pytest.fixture(scope="module")
def undisturbed(forked: ForkedWriters, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Undisturbed]:
    """By layout. Its store lies on disk; the bytes are the same in S3."""
    return {layout: _undisturbed(forked, layout, tmp_path_factory.mktemp(layout)) for layout in LAYOUTS}


def _undisturbed(forked: ForkedWriters, layout: str, root: Path) -> Undisturbed:
    spec = small_spec(str(root), layout)
    (ending,) = forked.round(spec, [LIVES])
    assert ending.exit_code == 0
    uri = store_uri(spec.store, identity_of(spec))
    assert verify(uri) == []
    files = [path.is_file() for path in root.rglob("*")]
    # A folder is made; a file is created, half written, about to be named, and named.
    return Undisturbed(contents(uri), ending.seconds, instants=len(files) + 3 * sum(files))


def small_spec(root: str, layout: str) -> PrecomputeSpec:
    """Four shards of two blocks each; the very last sample is hidden."""
    return PrecomputeSpec(
        teacher="mixture",
        store=root,
        samples=4 * SHARDS - 1,
        solver=SolverSpec(steps=2),
        captures=2,
        shard_samples=4,
        block_samples=2,
        format=layout,
    )


def identity_of(spec: PrecomputeSpec) -> TrajectorySpec:
    return trajectory_spec(spec, cached_teacher(spec.teacher, spec.device))


def contents(uri: str) -> dict[str, object]:
    """Key -> what every run must write there: the bytes, or of a record all that is no fact of a run."""
    return {key: _meaning(key, read_bytes(join(uri, key))) for key in list_prefix(uri)}


def _meaning(key: str, data: bytes) -> object:
    if key.startswith(RECORDS):
        # It raises unless the record's own hash is right.
        return {name: value for name, value in load_checked(data).items() if name not in RUN_FACTS}
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
        return set(range(SHARDS)) - set(missing_shards(self.spec.store, self.identity, self.spec.samples))

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
                "between two shards": 0 < len(committed) < SHARDS and not uncommitted and not unfinished,
                "committed, not sealed": len(committed) == SHARDS and not sealed,
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


MakeStore = Callable[[str, Writers], Store]


@pytest.fixture
def local_store(tmp_path: Path, undisturbed: dict[str, Undisturbed]) -> MakeStore:
    """Makes empty stores of a layout on disk."""

    def make(layout: str, writers: Writers) -> Store:
        root = tmp_path / secrets.token_hex(4)
        return Store(writers, small_spec(str(root), layout), undisturbed[layout].contents, root)

    return make


@pytest.fixture
def s3_store(s3_server: S3Server, s3_root: str, undisturbed: dict[str, Undisturbed]) -> MakeStore:
    """Makes empty stores of a layout in a real S3 server."""

    def make(layout: str, writers: Writers) -> Store:
        root = f"{s3_root}/{secrets.token_hex(4)}"
        folder = s3_server.folder / root.removeprefix("s3://")
        return Store(writers, small_spec(root, layout), undisturbed[layout].contents, folder)

    return make


@pytest.fixture
def chance() -> random.Random:
    """Draws other instants in every run; of a test that fails, pytest shows the seed."""
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))
    print(f"{SEED_VARIABLE}={seed}")
    return random.Random(seed)


def random_kills(chance: random.Random, run: Undisturbed) -> Iterator[Fate]:
    """Uniform over the time of a run, and over the changes that it makes, in turns."""
    while True:
        yield Fate(after_seconds=chance.uniform(0, run.seconds))
        yield Fate(at=chance.randint(1, run.instants))


def kill_and_resume(make: Callable[[], Store], rounds: Iterator[Sequence[Fate]], kills: int) -> list[Store]:
    """Run precompute, each time on what the last kills left; whoever is killed too late seals a store.

    Returns:
        The sealed stores, after so many kills of living processes.
    """
    stores = [make()]
    for fates in itertools.islice(rounds, TRIES * kills):
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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fifty_kills_at_random_instants(
    layout: str,
    forked: ForkedWriters,
    local_store: MakeStore,
    undisturbed: dict[str, Undisturbed],
    chance: random.Random,
) -> None:
    kills = random_kills(chance, undisturbed[layout])
    stores = kill_and_resume(lambda: local_store(layout, forked), zip(kills, strict=False), KILLS)
    assert require_equal(stores) == KILLS


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_kill_in_each_phase(layout: str, phase: str, forked: ForkedWriters, local_store: MakeStore) -> None:
    store = local_store(layout, forked)
    store.round(Fate(at=PHASES[phase]))
    assert phase in store.phases
    store.round(LIVES)
    assert require_equal([store]) == 1


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_writers_at_once(layout: str, count: int, forked: ForkedWriters, local_store: MakeStore) -> None:
    store = local_store(layout, forked)
    store.round(*[LIVES] * count)
    assert require_equal([store]) == 0


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_of_several_writers_is_killed(
    layout: str,
    count: int,
    forked: ForkedWriters,
    local_store: MakeStore,
    undisturbed: dict[str, Undisturbed],
    chance: random.Random,
) -> None:
    """The others finish the store by themselves: each store has one round."""
    kills = random_kills(chance, undisturbed[layout])
    rounds = ((kill, *[LIVES] * (count - 1)) for kill in kills)
    stores = kill_and_resume(lambda: local_store(layout, forked), rounds, KILLS_AMONG)
    assert require_equal(stores) == KILLS_AMONG
    assert {len(store.endings) for store in stores} == {count}


def test_the_command_is_killed(local_store: MakeStore, chance: random.Random) -> None:
    """What a user types, typed twice at once: both are killed, soon and later, then both again, then one of them."""

    def rounds() -> Iterator[Sequence[Fate]]:
        for lives in itertools.cycle([False, False, True]):
            soon, later = (Fate(after_objects=chance.randint(low, low + 2)) for low in (1, 4))
            yield soon, LIVES if lives else later

    stores = kill_and_resume(lambda: local_store("zarr", CommandWriters()), rounds(), COMMAND_KILLS)
    assert require_equal(stores) >= COMMAND_KILLS


def test_kills_in_s3(
    forked: ForkedWriters, s3_store: MakeStore, undisturbed: dict[str, Undisturbed], chance: random.Random
) -> None:
    kills = random_kills(chance, undisturbed["zarr"])
    stores = kill_and_resume(lambda: s3_store("zarr", forked), zip(kills, strict=False), S3_KILLS)
    assert require_equal(stores) == S3_KILLS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_writers_at_once_in_s3(layout: str, forked: ForkedWriters, s3_store: MakeStore) -> None:
    store = s3_store(layout, forked)
    store.round(LIVES, LIVES)
    assert require_equal([store]) == 0
