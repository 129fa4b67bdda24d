"""Training with its output in S3: killed at any instant and run again elsewhere, bit for bit an undisturbed run."""

import json
import os
import random
import secrets
import signal
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from advkd.files.scratch import scratch_folder
from advkd.students import fetched_student, load_student
from advkd.training.checkpoint import newest_record, record_beside, saved_checkpoints
from advkd.training.loop import train
from storage import join, list_prefix, read_bytes, write_bytes
from storage.care.garbage import find_garbage
from storage.folders import fetch_folder
from storage.writing.claims import Claims
from tests.advkd.conftest import tiny_train
from tests.advkd.training.publish_instants import command_with, publish_and_die, publish_and_list
from tests.advkd.training.test_loop import hashes, run
from tests.advkd.training.test_train_kills import SEED_VARIABLE, arguments
from tests.advkd.trajectories.forked import Forker, Job, command

KILLS_AT_INSTANTS, KILLS_IN_TIME = 2, 1
PHASES = {
    "half a weight file": "half write */checkpoints/*.safetensors",
    "before a checkpoint is there": "before write */checkpoints/*/contents.json",
    "a checkpoint with its note": "after write */checkpoints/*/contents.json",
    "the record of an older one": "after delete */checkpoints/*/contents.json",
    "half a student": "half write */student/*.safetensors",
    "a student without contents": "before write */student/contents.json",
}


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "spec.json"
    path.write_text(json.dumps(asdict(tiny_train())))
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))


def here(function: object, *given: object, machine: Path, **options: float) -> Job:
    """A job with this process's way to S3, and a cache of its own, as if on another machine."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return Job(function, given, variables | {"ADVKD_CACHE": str(machine)}, **options)  # type: ignore[arg-type]


def fetched(out: str, folder: Path) -> Path:
    """A run's output as a local folder, all of it checked."""
    for uri in (join(out, "student"), *saved_checkpoints(out)):
        fetch_folder(uri, folder / uri.removeprefix(out).lstrip("/"))
    (folder / "monitors.jsonl").write_bytes(read_bytes(join(out, "monitors.jsonl")))
    return folder


def is_clean(machine: Path) -> bool:
    """Whether nothing is left of what a process worked on."""
    return list((machine / "scratch").iterdir()) == []


@dataclass(frozen=True)
class Undisturbed:
    """What a run makes that nobody disturbs: on disk and in S3."""

    hashes: dict[str, str]
    observations: bytes
    keys: list[str]
    instants: list[str]
    seconds: float


@pytest.fixture
def undisturbed(fork: Forker, mixture_store: str, spec_file: Path, s3_root: str, tmp_path: Path) -> Undisturbed:
    local = tmp_path / "local"
    run(tiny_train(), mixture_store, local)
    out, listing = join(s3_root, "undisturbed"), tmp_path / "instants"
    job = here(publish_and_list, str(listing), *arguments(mixture_store, spec_file, out), machine=tmp_path / "m")
    (ended,) = fork.group(job)
    assert ended.code == 0, ended.err
    assert is_clean(tmp_path / "m")
    there = fetched(out, tmp_path / "there")
    assert hashes(there) == hashes(local)
    observations = (local / "monitors.jsonl").read_bytes()
    assert (there / "monitors.jsonl").read_bytes() == observations
    return Undisturbed(hashes(local), observations, list_prefix(out), listing.read_text().splitlines(), ended.seconds)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_is_killed_goes_on_elsewhere(
    fork: Forker, mixture_store: str, spec_file: Path, s3_root: str, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """One kill of every kind, more uniform over all instants and over time; the machine that died is lost."""
    assert [key for key in undisturbed.keys if "/" not in key] == ["monitors.jsonl"]
    assert {key.split("/")[1] for key in undisturbed.keys if key.startswith("checkpoints")} == {
        "000000000072",
        "000000000096",
    }
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))
    print(f"{SEED_VARIABLE}={seed}")
    chance = random.Random(seed)
    numbers = [
        chance.choice([number for number, name in enumerate(undisturbed.instants) if fnmatch(name, pattern)])
        for pattern in PHASES.values()
    ]
    numbers += [chance.randrange(len(undisturbed.instants)) for _ in range(KILLS_AT_INSTANTS)]
    for position in range(len(numbers) + KILLS_IN_TIME):
        out, lost, machine = join(s3_root, str(position)), tmp_path / f"lost-{position}", tmp_path / f"m-{position}"
        given = arguments(mixture_store, spec_file, out)
        if position < len(numbers):
            kill = here(publish_and_die, numbers[position], *given, machine=lost)
        else:
            kill = here(command, *given, machine=lost, kill_after=chance.uniform(0, undisturbed.seconds))
        (died,) = fork.group(kill)
        assert died.code == -signal.SIGKILL or position >= len(numbers), died.err
        (again,) = fork.group(here(command, *given, machine=machine))
        assert again.code == 0, again.err
        there = fetched(out, tmp_path / f"there-{position}")
        assert hashes(there) == undisturbed.hashes, (kill, died)
        assert (there / "monitors.jsonl").read_bytes() == undisturbed.observations
        assert list_prefix(out) == undisturbed.keys
        assert is_clean(machine)
    assert find_garbage(s3_root, 0) == []


def test_two_processes_have_folders_of_their_own_and_one_writes(
    fork: Forker, mixture_store: str, s3_root: str, tmp_path: Path
) -> None:
    out, machine = join(s3_root, "run"), tmp_path / "m"
    run(tiny_train(), mixture_store, out, stop_at=48)  # type: ignore[arg-type]
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(asdict(tiny_train())))
    variables = dict(here(command, machine=machine).environment)
    ended = fork.ranks(2, command_with, variables, *arguments(mixture_store, path, out))
    assert [one.code for one in ended] == [0, 0], ended
    local = tmp_path / "local"
    run(tiny_train(), mixture_store, local)
    there = fetched(out, tmp_path / "there")
    observations = [json.loads(line)["samples"] for line in (there / "monitors.jsonl").read_text().splitlines()]
    assert observations == [json.loads(line)["samples"] for line in (local / "monitors.jsonl").read_text().splitlines()]
    assert hashes(there).keys() == hashes(local).keys()
    assert is_clean(machine)


def test_what_a_killed_process_worked_on_is_removed_by_the_next(
    fork: Forker, mixture_store: str, spec_file: Path, s3_root: str, tmp_path: Path
) -> None:
    machine, given = tmp_path / "m", arguments(mixture_store, spec_file, join(s3_root, "run"))
    (died,) = fork.group(here(publish_and_die, 20, *given, machine=machine))
    assert died.code == -signal.SIGKILL
    left = sorted((machine / "scratch").iterdir())
    assert [path.suffix for path in left] == ["", ".lock"]
    (again,) = fork.group(here(command, *given, machine=machine))
    assert again.code == 0, again.err
    assert is_clean(machine)


def test_the_scratch_of_a_process_at_work_stays(tmp_path: Path) -> None:
    with scratch_folder() as one, scratch_folder() as other:
        assert one != other
        assert one.is_dir()
    assert is_clean(tmp_path / "cache")


def test_a_finished_run_is_found_without_its_weights(mixture_store: str, s3_root: str) -> None:
    out = join(s3_root, "run")
    assert newest_record(out) is None
    assert len(run(tiny_train(), mixture_store, out)) == 12  # type: ignore[arg-type]
    record = newest_record(out)
    assert record is not None
    assert record["samples"] == 96
    for student in (out, join(out, "student")):
        assert record_beside(student) == record
        assert load_student(fetched_student(student)).timesteps[0] == 999
    assert (fetched_student(out) / "monitors.json").is_file()
    before = list_prefix(out)
    assert run(tiny_train(), mixture_store, out) == []  # type: ignore[arg-type]
    assert list_prefix(out) == before


def test_a_run_that_was_taken_over_writes_nothing_more(mixture_store: str, s3_root: str) -> None:
    out = join(s3_root, "run")
    steps = train(tiny_train(), mixture_store, out)
    next(steps)
    other = Claims()
    write_bytes(join(out, "run.claim"), b"{}")
    assert other.take(join(out, "run.claim")) is None
    with pytest.raises(BlockingIOError, match=rf"one process at a time, got another that took {out} over"):
        list(steps)
    other.release(join(out, "run.claim"))
    assert list_prefix(out) == []


def test_messages_name_the_uri_and_not_the_scratch(mixture_store: str, s3_root: str) -> None:
    out = join(s3_root, "run")
    run(tiny_train(), mixture_store, out, stop_at=48)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"other ones than {out}/checkpoints/000000000048 has \(seed: 0 there, 1"):
        run(tiny_train(seed=1), mixture_store, out)  # type: ignore[arg-type]


@pytest.mark.parametrize("uri", ["s3://me:secret@bucket/run", "s3://bucket/run?key=secret"])
def test_credentials_in_a_uri_are_refused_and_not_repeated(mixture_store: str, uri: str) -> None:
    with pytest.raises(ValueError, match="must not hold credentials") as refused:
        run(tiny_train(), mixture_store, uri)  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)
