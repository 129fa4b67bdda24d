"""One training in several processes: torch's launcher is one child, whose end is that of the process that failed."""

import json
import os
import signal
from pathlib import Path

import pytest
from torch.distributed.run import parse_args

from advkd.training.checkpoint import checkpoints
from advkd.trajectories import precompute
from flows.processes.child import ChildError, ChildKilledError, run_module
from flows.processes.ranks import launched, torchrun_arguments
from flows.train import train
from tests.advkd.conftest import mixture_spec, tiny_train
from tests.flows.processes.test_child import ignore, is_running, wait_until

ENDING = """
import os, sys, time
from advkd.runtime import die_with_parent
from pathlib import Path
die_with_parent()()
rank, how, folder = os.environ["RANK"], sys.argv[1], Path(sys.argv[2])
(folder / f"{rank}.pid").write_text(str(os.getpid()))
if how == "well":
    print(f"{rank} of {os.environ['WORLD_SIZE']}") if rank == "0" else None
elif how == "wait":
    from advkd.runtime import progress
    with progress() as report:
        for i in range(6000):
            report("waiting", i, 6000)
            time.sleep(0.1)
elif rank == "1":
    # The other process is there before this one ends.
    while not (folder / "0.pid").exists():
        time.sleep(0.05)
    sys.exit("error: rule, fact, remedy") if how == "fail" else os.kill(os.getpid(), 9)
else:
    time.sleep(600)
"""


@pytest.fixture
def ranks(tmp_path, monkeypatch):
    """Runs two processes that end in a way, and returns what is left of them."""
    (tmp_path / "ranked.py").write_text(ENDING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path.cwd())]))

    def run(how, report=ignore):
        return run_module("ranked", [how, str(tmp_path)], report, processes=2)

    yield run
    left = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    assert len(left) == 2
    assert wait_until(lambda: not any(map(is_running, left)))


def test_the_command_is_torchrun_s_own():
    assert launched("advkd", 1) == ["advkd"]
    assert launched("advkd", 4) == ["flows.processes.ranks", "4", "advkd"]
    parsed = parse_args(torchrun_arguments(4, "advkd", ["train", "--out", "there"]))
    assert (parsed.nproc_per_node, parsed.standalone, parsed.max_restarts) == ("4", True, 0)
    assert (parsed.module, parsed.training_script) == (True, "advkd")
    assert parsed.training_script_args == ["train", "--out", "there"]


@pytest.mark.slow
def test_what_the_first_process_prints_comes_back(ranks):
    assert ranks("well") == "0 of 2"


def test_the_process_that_fails_has_the_last_word(ranks):
    with pytest.raises(ChildError, match=r"^error: rule, fact, remedy$") as caught:
        ranks("fail")
    assert not isinstance(caught.value, ChildKilledError)


def test_a_process_that_is_killed_is_worth_another_try(ranks):
    with pytest.raises(ChildKilledError, match="ranked kill must run to its end, but was killed by SIGKILL"):
        ranks("kill")


def test_an_interrupted_call_ends_every_process(ranks, tmp_path):
    def interrupt(label, done, total, note=""):
        if len(list(tmp_path.glob("*.pid"))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ranks("wait", interrupt)


def test_processes_end_with_a_launcher_that_is_killed(ranks, tmp_path):
    def kill(label, done, total, note=""):
        found = [file.read_text() for file in tmp_path.glob("*.pid")]
        if len(found) == 2 and all(found):
            os.kill(int(Path(f"/proc/{found[0]}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)

    with pytest.raises(ChildKilledError):
        ranks("wait", kill)


# Three starts of torch on busy cores.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_flow_trains_in_two_processes(api, tmp_path):
    store, out = precompute(mixture_spec(tmp_path / "stores")).uri, tmp_path / "run"
    result = train(tiny_train(), store, str(out), processes=2)
    assert (result.folder, result.trained, result.samples) == (str(out / "student"), True, 96)
    assert (out / "student" / "config.json").is_file()
    # Another number of processes is the same run, which has ended.
    assert not train(tiny_train(), store, str(out)).trained
    assert int(checkpoints(out)[-1].name) == 96
    assert json.loads((out / "train.json").read_text())["batch_size"] == 8


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_starts(api, tmp_path):
    with pytest.raises(ValueError, match=r"a batch must be split evenly, got batch_size 8 for 3 processes; choose"):
        train(tiny_train(), "nowhere", str(tmp_path / "run"), processes=3)
    assert not (tmp_path / "run").exists()
