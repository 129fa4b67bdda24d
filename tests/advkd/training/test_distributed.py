"""Several processes: the same losses as one, one voice, and no process that hangs or stays."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from advkd.files.folders import own_folder
from advkd.training.checkpoint import checkpoints
from advkd.training.distributed import Processes
from advkd.training.methods.layerwise_spec import TrainSpec
from tests.advkd.conftest import tiny_train
from tests.advkd.training.rank_jobs import fail_alone, record
from tests.advkd.trajectories.forked import Ended, Forker, Job, command

LOSSES = ("distillation", "adversarial", "discriminator", "margin", "adversarial_scale")


def trained(
    fork: Forker, count: int, spec: TrainSpec, store: str, out: Path, stop_at: int | None = None
) -> list[dict[str, Any]]:
    """What `count` processes report; all of them the same, with the same weights to the bit."""
    records = out.with_name(f"{out.name}-{count}-{stop_at}")
    arguments = (spec, store, out, records, stop_at)
    ended = fork.ranks(count, record, *arguments) if count > 1 else fork.group(Job(record, arguments))
    assert [one.code for one in ended] == [0] * count, [one.err for one in ended]
    found = [json.loads((records / f"{rank}.json").read_text()) for rank in range(count)]
    assert len({one["weights"] for one in found}) == 1
    for one in found[1:]:
        assert [[step[name] for name in LOSSES] for step in one["metrics"]] == [
            [step[name] for name in LOSSES] for step in found[0]["metrics"]
        ]
    metrics: list[dict[str, Any]] = found[0]["metrics"]
    return metrics


def assert_same_losses(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for mine, theirs in zip(found, expected[-len(found) :], strict=True):
        assert (mine["samples"], mine["phase"]) == (theirs["samples"], theirs["phase"])
        for name in LOSSES:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-4, abs=2e-5), (name, mine["samples"])


@pytest.fixture(scope="module")
def alone(fork: Forker, mixture_store: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What one process reports."""
    return trained(fork, 1, tiny_train(), mixture_store, tmp_path_factory.mktemp("alone") / "run")


def test_two_processes_see_the_losses_of_one(
    fork: Forker, alone: list[dict[str, Any]], mixture_store: str, tmp_path: Path
) -> None:
    found = trained(fork, 2, tiny_train(), mixture_store, tmp_path / "run")
    assert len(found) == 12
    assert_same_losses(found, alone)
    assert any(step["adversarial_scale"] > 0 for step in found)


def test_parts_of_shares_see_the_losses_of_the_whole_batch(
    fork: Forker, alone: list[dict[str, Any]], mixture_store: str, tmp_path: Path
) -> None:
    """2 processes of 2 parts each; the adversarial gradient is balanced part by part, so until it comes."""
    found = trained(fork, 2, tiny_train(accumulate=2), mixture_store, tmp_path / "run", stop_at=48)
    assert_same_losses(found, alone[:6])


@pytest.mark.parametrize(("before", "after", "stop_at"), [(1, 2, 32), (2, 1, 32), (2, 4, 72)])
def test_a_run_goes_on_with_another_number_of_processes(
    fork: Forker, alone: list[dict[str, Any]], mixture_store: str, tmp_path: Path, before: int, after: int, stop_at: int
) -> None:
    out = tmp_path / "run"
    trained(fork, before, tiny_train(), mixture_store, out, stop_at=stop_at)
    saved = int(checkpoints(out)[-1].name)
    assert saved == stop_at - stop_at % 24
    found = trained(fork, after, tiny_train(), mixture_store, out)
    assert [step["samples"] for step in found] == list(range(saved + 8, 97, 8))
    assert_same_losses(found, alone)


# -- one voice --------------------------------------------------------------------------------------------------------


def arguments(store: str, spec: TrainSpec | str, folder: Path, *more: str) -> tuple[str, ...]:
    path = folder / "spec.json"
    path.write_text(spec if isinstance(spec, str) else json.dumps(asdict(spec)))
    return "train", "--store", store, "--spec", str(path), "--out", str(folder / "run"), *more


def test_the_first_process_alone_speaks(
    fork: Forker, mixture_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = fork.ranks(2, command, *arguments(mixture_store, tiny_train(), tmp_path, "--json"))
    assert (first.code, second.code) == (0, 0), first.err
    assert json.loads(first.out)["uri"] == str(tmp_path / "run" / "student")
    assert (first.err, second.out, second.err) == ("", "", "")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        ".lock",
        "checkpoints",
        "monitors.jsonl",
        "student",
    ]


def said(ended: list[Ended]) -> str:
    """The one line that one of the processes said."""
    assert all(one.code != 0 and one.code != -signal.SIGKILL for one in ended), ended
    (line,) = [line for one in ended for line in (one.out + one.err).splitlines()]
    return line


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{", "error: --spec must be a JSON file"),
        (tiny_train(batch_size=3, samples=9), "error: a batch must be split evenly, got batch_size 3 for 2 processes"),
        (tiny_train(accumulate=8), "error: accumulate must divide each process's share of a batch (4 of 8), got 8"),
        (tiny_train(device="cuda"), "error: a CUDA device must be there to be used, got 'cuda:1'"),
        (tiny_train(device="cuda:0"), "error: several processes take a GPU each, so device must be cuda, got 'cuda:0'"),
        (tiny_train(learning_rate=1e30), "error: losses and weights must stay finite"),
    ],
)
def test_what_fails_in_all_processes_is_said_once(
    fork: Forker, mixture_store: str, tmp_path: Path, spec: TrainSpec | str, message: str
) -> None:
    assert said(fork.ranks(2, command, *arguments(mixture_store, spec, tmp_path))).startswith(message)


def test_a_missing_store_is_said_once(fork: Forker, tmp_path: Path) -> None:
    line = said(fork.ranks(2, command, *arguments(str(tmp_path / "nothing"), tiny_train(), tmp_path)))
    assert line.startswith("error: a store is a folder with a manifest.json")


def test_what_only_the_first_process_meets_ends_the_others(fork: Forker, mixture_store: str, tmp_path: Path) -> None:
    """It alone locks the folder; the others wait for it at that moment."""
    with own_folder(tmp_path / "run"):
        line = said(fork.ranks(3, command, *arguments(mixture_store, tiny_train(batch_size=6), tmp_path)))
    assert line.startswith("error: a run's folder belongs to one process at a time")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_fails_alone_says_so_and_ends_the_others(
    fork: Forker, mixture_store: str, tmp_path: Path, rank: str
) -> None:
    line = said(fork.ranks(2, fail_alone, rank, 32, *arguments(mixture_store, tiny_train(), tmp_path)))
    assert line == "error: a batch must be read, got a broken cable; plug it in"
    assert [int(path.name) for path in checkpoints(tmp_path / "run")] == [24]


def test_a_batch_is_shared_without_a_rest() -> None:
    assert [Processes(rank, 3).share(6) for rank in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    with pytest.raises(ValueError, match=r"a batch must be split evenly, got batch_size 6 for 4 processes; choose"):
        Processes(0, 4).share(6)


# -- torchrun itself --------------------------------------------------------------------------------------------------


def torchrun(*advkd: str) -> subprocess.Popen[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "advkd", *advkd]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *launch], env=environment, text=True, **pipes)


def still_there(out: Path) -> list[str]:
    """Processes that were given this folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(out).encode() in words:
            found.append(line.parent.name)
    return found


# Six starts of Python with all of its imports: on busy cores they take minutes.
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_torchrun_is_interrupted_and_run_again(mixture_store: str, tmp_path: Path) -> None:
    """What a user types: Ctrl-C, which leaves no process, then the same command to the end."""
    out = tmp_path / "run"
    given = arguments(mixture_store, tiny_train(samples=960, report_every=100), tmp_path, "--json")
    with torchrun(*given) as process:
        try:
            while process.poll() is None and not checkpoints(out):
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            said_out, said_err = process.communicate(timeout=240)
        finally:
            process.kill()
    assert still_there(out) == []
    assert process.returncode != 0
    assert said_out == ""
    assert "error: " not in said_err
    assert not (out / "student").exists()
    reached = int(checkpoints(out)[-1].name)
    assert 24 <= reached < 960
    with torchrun(*given) as process:
        try:
            said_out, said_err = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 0, said_err
    assert still_there(out) == []
    assert json.loads(said_out)["uri"] == str(out / "student")
    assert int(checkpoints(out)[-1].name) == 960
