"""A run of `advkd train` killed at any instant, and run again until it ends, is bit for bit an undisturbed one."""

import json
import os
import random
import secrets
import signal
import sys
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.advkd.conftest import tiny_train
from tests.advkd.training.test_loop import hashes
from tests.advkd.training.train_instants import train_and_die, train_and_list
from tests.advkd.trajectories.forked import Forker, Job, command

SEED_VARIABLE = "ADVKD_KILL_SEED"
"""Draws the same instants again."""
KILLS_AT_INSTANTS, KILLS_IN_TIME, ROW = 5, 5, 4
FEW = ("adversarial", "a checkpoint without its name", "an export without its name")
"""Of the phases: where a run goes on from a checkpoint, from the one before, and has nothing to do but to export."""
PHASES = {
    "distillation": "step of distillation",
    "adversarial": "step of adversarial",
    "half a checkpoint": "half */checkpoints/.*.safetensors",
    "half a record": "half */checkpoints/.*/state.json",
    "a checkpoint without its name": "before rename */checkpoints/.*",
    "a checkpoint with its name": "after rename */checkpoints/.*",
    "removal of an older one": "after unlink state.json",
    "half an export": "half */.student.*",
    "an export without its name": "before rename */.student.*",
    "an export with its name": "after rename */.student.*",
}


@dataclass(frozen=True)
class Undisturbed:
    """What a run makes that nobody disturbs, its instants by number, and how long it takes."""

    hashes: dict[str, str]
    instants: list[str]
    seconds: float


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "spec.json"
    path.write_text(json.dumps(asdict(tiny_train())))
    return path


def arguments(store: str, spec_file: Path, out: Path) -> tuple[str, ...]:
    return "train", "--store", store, "--spec", str(spec_file), "--out", str(out)


@pytest.fixture(scope="module")
def undisturbed(
    fork: Forker, mixture_store: str, spec_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    (plain,) = fork.group(Job(command, arguments(mixture_store, spec_file, folder / "plain")))
    assert plain.code == 0, plain.err
    listing = folder / "instants"
    listed = arguments(mixture_store, spec_file, folder / "listed")
    (ended,) = fork.group(Job(train_and_list, (str(listing), *listed)))
    assert ended.code == 0, ended.err
    assert hashes(folder / "listed") == hashes(folder / "plain")
    return Undisturbed(hashes(folder / "plain"), listing.read_text().splitlines(), plain.seconds)


@pytest.fixture
def chance() -> random.Random:
    """Draws other instants in every run; of a test that fails, pytest shows the seed."""
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))
    print(f"{SEED_VARIABLE}={seed}")
    return random.Random(seed)


# 42 short runs: on busy cores they take minutes.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("phases", "at_instants", "in_time"),
    [(FEW, 1, 0), pytest.param(tuple(PHASES), KILLS_AT_INSTANTS, KILLS_IN_TIME, marks=pytest.mark.slow)],
    ids=["few", "many"],
)
def test_a_kill_in_each_phase_and_at_random_instants(
    phases: tuple[str, ...],
    at_instants: int,
    in_time: int,
    fork: Forker,
    mixture_store: str,
    spec_file: Path,
    undisturbed: Undisturbed,
    chance: random.Random,
    tmp_path: Path,
) -> None:
    """One of every kind, more uniform over all of them, and as many uniform over time."""
    numbers = [
        chance.choice([number for number, name in enumerate(undisturbed.instants) if fnmatch(name, PHASES[phase])])
        for phase in phases
    ]
    numbers += [chance.randrange(len(undisturbed.instants)) for _ in range(at_instants)]
    runs = [arguments(mixture_store, spec_file, tmp_path / str(number)) for number in range(len(numbers) + in_time)]
    jobs = [Job(train_and_die, (number, *run)) for number, run in zip(numbers, runs, strict=False)]
    jobs += [Job(command, run, kill_after=chance.uniform(0, undisturbed.seconds)) for run in runs[len(numbers) :]]
    ended = [fork.group(job)[0] for job in jobs]
    assert {one.code for one in ended[: len(numbers)]} == {-signal.SIGKILL}, ended[0].err
    assert {one.code for one in ended} <= {-signal.SIGKILL, 0}
    for number, run in enumerate(runs):
        (again,) = fork.group(Job(command, run))
        assert again.code == 0, again.err
        assert hashes(tmp_path / str(number)) == undisturbed.hashes, (jobs[number], ended[number])
        assert sorted(path.name for path in (tmp_path / str(number)).rglob(".*")) == [".lock"]


def test_several_kills_in_a_row(
    fork: Forker,
    mixture_store: str,
    spec_file: Path,
    undisturbed: Undisturbed,
    chance: random.Random,
    tmp_path: Path,
) -> None:
    """Each run goes on from what the one before it has left, over both phases, until one ends."""
    run = arguments(mixture_store, spec_file, tmp_path)
    kills = 0
    while True:
        # A run that cleans up after a killed one has more instants than an undisturbed one.
        number = chance.randrange(len(undisturbed.instants) // 6) if kills < ROW else sys.maxsize
        (ended,) = fork.group(Job(train_and_die, (number, *run)))
        if ended.code == 0:
            break
        assert ended.code == -signal.SIGKILL, ended.err
        kills += 1
    assert kills == ROW
    assert hashes(tmp_path) == undisturbed.hashes
