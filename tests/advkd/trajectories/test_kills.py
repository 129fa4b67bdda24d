"""Laws 3 and 4: precompute killed at any instant, by any number of writers, and run again, makes the same store.

Real processes, real kills; the laws that are checked after each of them stand in `killed_store.py`.
"""

import itertools
import os
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from storage import store_uri, verify
from tests.advkd.trajectories.forked import Forker
from tests.advkd.trajectories.kill_instants import Moment
from tests.advkd.trajectories.kill_runner import CommandWriters, Fate, ForkedWriters, Writers, forked_writers
from tests.advkd.trajectories.killed_store import (
    LIVES,
    Store,
    contents,
    identity_of,
    kill_and_resume,
    require_equal,
    small_spec,
)
from tests.s3_server import S3Server

LAYOUTS = ("zarr", "webdataset")
SEED_VARIABLE = "ADVKD_KILL_SEED"
"""Draws the same instants again."""
KILLS_AMONG, COMMAND_KILLS = 4, 3
PHASES = {
    "within a write": Moment("within", ("/shards/", "/c/")),
    "data without its commit": Moment("before", ("/commits/",)),
    "between two shards": Moment("after", ("/commits/",)),
    "committed, not sealed": Moment("before", ("/manifest.json",)),
}


def many(few: int, more: int) -> pytest.MarkDecorator:
    """Some kills in each run of the tests, and many more where they may take their time."""
    return pytest.mark.parametrize("count", [few, pytest.param(more, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def forked(fork: Forker) -> Iterator[ForkedWriters]:
    with forked_writers(fork) as writers:
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


@many(6, 25)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_kills_at_random_instants(
    layout: str,
    count: int,
    forked: ForkedWriters,
    local_store: MakeStore,
    undisturbed: dict[str, Undisturbed],
    chance: random.Random,
) -> None:
    kills = random_kills(chance, undisturbed[layout])
    stores = kill_and_resume(lambda: local_store(layout, forked), zip(kills, strict=False), count)
    assert require_equal(stores) == count


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_kill_in_each_phase(layout: str, phase: str, forked: ForkedWriters, local_store: MakeStore) -> None:
    store = local_store(layout, forked)
    store.round(Fate(at=PHASES[phase]))
    assert phase in store.phases
    store.round(LIVES)
    assert require_equal([store]) == 1


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_writers_at_once(layout: str, count: int, forked: ForkedWriters, local_store: MakeStore) -> None:
    store = local_store(layout, forked)
    store.round(*[LIVES] * count)
    assert require_equal([store]) == 0


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
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


# Six starts of Python with all of its imports: on busy cores they take minutes.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_is_killed(local_store: MakeStore, chance: random.Random) -> None:
    """What a user types, typed twice at once: both are killed, soon and later, then both again, then one of them."""

    def rounds() -> Iterator[Sequence[Fate]]:
        for lives in itertools.cycle([False, False, True]):
            soon, later = (Fate(after_objects=chance.randint(low, low + 2)) for low in (1, 4))
            yield soon, LIVES if lives else later

    stores = kill_and_resume(lambda: local_store("zarr", CommandWriters()), rounds(), COMMAND_KILLS)
    assert require_equal(stores) >= COMMAND_KILLS


@many(2, 12)
def test_kills_in_s3(
    count: int, forked: ForkedWriters, s3_store: MakeStore, undisturbed: dict[str, Undisturbed], chance: random.Random
) -> None:
    """About as many instants as on the disk: the middle and the end of all that is sent."""
    alone = s3_store("zarr", forked)
    (ending,) = alone.round(LIVES)
    kills = random_kills(chance, replace(undisturbed["zarr"], seconds=ending.seconds))
    stores = kill_and_resume(lambda: s3_store("zarr", forked), zip(kills, strict=False), count)
    assert require_equal(stores) == count


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_writers_at_once_in_s3(layout: str, forked: ForkedWriters, s3_store: MakeStore) -> None:
    store = s3_store(layout, forked)
    store.round(LIVES, LIVES)
    assert require_equal([store]) == 0
