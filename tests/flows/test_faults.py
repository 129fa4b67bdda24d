"""What goes wrong in the middle of a flow: it fails with the reason, and the next run goes on from what is there."""

import contextlib
import hashlib
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from advkd.students import StudentSpec
from advkd.training.checkpoint import CheckpointError, checkpoints, run_identity
from advkd.training.loop import STUDENT_FOLDER
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.trajectories import PrecomputeSpec
from advkd.trajectories import filling as library
from advkd.trajectories import shard as trajectories
from flows import tasks
from flows import train as train_module
from flows.precompute import precompute
from flows.processes.child import ChildError
from flows.train import finished_student, train
from storage import NonFiniteError, is_sealed, open_store, write_json
from storage.records.commits import committed_shards
from storage.records.spec import store_uri
from tests.flows.processes.test_child import is_running, wait_until

SPEC = PrecomputeSpec(teacher="mixture", store="stores", samples=384, shard_samples=128)
TINY = TrainSpec(
    student=StudentSpec(width=16, blocks=1), samples=1920, rise_samples=64, checkpoint_every=320, report_every=1
)


def training_children():
    """Pids of the `advkd train` processes that this process started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_bytes().split(b"\0")
            if parent == os.getpid() and b"advkd" in command and b"train" in command:
                found.append(int(status.parent.name))
    return found


@pytest.fixture
def store(api):
    return precompute(SPEC).uri


@pytest.fixture
def reported(monkeypatch):
    """Everything that training reports, instead of a bar."""
    updates = []

    @contextlib.contextmanager
    def record(say=None):
        yield lambda *update: updates.append(update)

    monkeypatch.setattr(tasks, "progress", record)
    return updates


@pytest.fixture
def kill_at_first_checkpoint(tmp_path):
    """Kills the training process as soon as there is a checkpoint."""

    def watch():
        assert wait_until(lambda: list((tmp_path / "out").glob("checkpoints/*/state.json")), 200)
        for pid in training_children():
            os.kill(pid, signal.SIGKILL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join()


def weights(folder):
    return hashlib.sha256((Path(folder) / "diffusion_pytorch_model.safetensors").read_bytes()).hexdigest()


def test_a_failing_shard_fails_the_flow_and_the_next_run_computes_only_what_is_missing(api, monkeypatch):
    noise = trajectories.start_noise

    def poisoned(identity, first, count):
        return noise(identity, first, count) * (float("nan") if first >= 256 else 1.0)

    identity, missing = library.what_is_missing(SPEC)
    assert missing == [0, 1, 2]
    with monkeypatch.context() as patch:
        patch.setattr(trajectories, "start_noise", poisoned)
        with pytest.raises(NonFiniteError, match=r"states must be finite.*samples 256 to 383"):
            precompute(SPEC)
    uri = store_uri(SPEC.store, identity)
    assert not is_sealed(SPEC.store, identity, SPEC.samples)
    before = committed_shards(uri)
    assert 2 not in before

    result = precompute(SPEC)
    assert result.computed == 3 - len(before)
    assert is_sealed(SPEC.store, identity, SPEC.samples)
    assert precompute(SPEC).computed == 0


def test_a_student_of_a_run_that_has_yet_to_end_is_not_taken_for_its_result(store, tmp_path):
    out = tmp_path / "out"
    identity = run_identity(TINY, open_store(store).manifest.digest)
    (out / STUDENT_FOLDER).mkdir(parents=True)
    (out / STUDENT_FOLDER / "config.json").write_text("{}")
    record = {"samples": 320, "adversarial_steps": 0, "identity": identity, "loader": {}, "files": {}}
    write_json(str(out / "checkpoints/000000000320/state.json"), record)
    assert finished_student(TINY, store, str(out)) is None
    write_json(str(out / "checkpoints/000000001920/state.json"), record | {"samples": 1920})
    assert finished_student(TINY, store, str(out)) == str(out / STUDENT_FOLDER)
    truncated = out / "checkpoints/000000001920/state.json"
    truncated.write_text(truncated.read_text()[:50])
    with pytest.raises(CheckpointError, match="remove that checkpoint folder"):
        finished_student(TINY, store, str(out))


@pytest.mark.slow
def test_a_killed_training_goes_on_by_itself_bit_for_bit(store, request, monkeypatch):
    whole = train(TINY, store, "whole").folder
    run_module, found = tasks.run_module, []

    def run(*arguments):
        found.append([path.name for path in checkpoints(Path("out"))])
        return run_module(*arguments)

    monkeypatch.setattr(tasks, "run_module", run)
    request.getfixturevalue("kill_at_first_checkpoint")
    resumed = train(TINY, store, "out")
    first, second = found
    assert first == []
    assert second[0] == "000000000320"
    assert weights(resumed.folder) == weights(whole)


@pytest.mark.slow
def test_a_killed_training_fails_clearly_and_goes_on_bit_for_bit(store, reported, request, monkeypatch):
    monkeypatch.setattr(train_module, "train_student", tasks.train_student.with_options(retries=0))
    whole = train(TINY, store, "whole").folder
    request.getfixturevalue("kill_at_first_checkpoint")
    reported.clear()
    with pytest.raises(ChildError, match="killed by SIGKILL; run the same flow again"):
        train(TINY, store, "out")
    reported.clear()
    resumed = train(TINY, store, "out")
    assert resumed.trained
    assert reported[0][1] > TINY.checkpoint_every
    assert weights(resumed.folder) == weights(whole)

    reported.clear()
    assert not train(TINY, store, "out").trained
    assert reported == []

    with pytest.raises(ChildError, match="a run goes on only with the settings it began with"):
        train(replace(TINY, warmup=0.5), store, "out")


@pytest.mark.slow
def test_a_time_out_ends_the_training_process(store, reported, monkeypatch):
    monkeypatch.setattr(train_module, "train_student", tasks.train_student.with_options(timeout_seconds=4))
    endless = TrainSpec(student=StudentSpec(width=16, blocks=1), samples=10_000_000)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="4"):
        train(endless, store, "out")
    assert time.monotonic() - began < 60
    assert not any(is_running(pid) for pid in training_children())
