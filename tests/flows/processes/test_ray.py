"""Shards over a Ray cluster: the bytes that threads make; one cluster for all, started by a flow and ended with it.

A worker of it that is killed at work is replaced, and its shard made by another.
"""

import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

from advkd.evaluation import EvaluateSpec, missing_pieces
from advkd.teachers import load_teacher
from advkd.trajectories import PrecomputeSpec
from flows.command import main
from flows.evaluate import evaluate
from flows.precompute import precompute
from flows.processes import fan_out
from flows.processes.fan_out import SHARDS_PER_GPU, check_fan_out, ray_options, shard_runner, shards_per_gpu
from flows.processes.process_tree import marked_processes
from flows.processes.stages import S3_SECONDS, wait_for_s3
from flows.watch import _distillable
from storage import open_store
from storage.objects import PATIENCE
from storage.testing.oracles import snapshot
from tests.advkd.evaluation.parts import make_student
from tests.flows.processes.test_child import wait_until

SPEC = PrecomputeSpec(teacher="mixture", samples=512, shard_samples=128)


def objects(uri):
    """All of a store but who computed it when."""
    found = snapshot(uri)
    assert found != {}
    return found


class Killer(threading.Thread):
    """Kills the first worker of a cluster that is seen at a shard; its life there is importing, above all."""

    def __init__(self):
        super().__init__(daemon=True)
        self.killed = None
        self.over = threading.Event()

    def run(self):
        while self.killed is None and not self.over.wait(0.1):
            for pid in ray_processes():
                with suppress(OSError):
                    if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::compute_shard"):
                        os.kill(pid, signal.SIGKILL)
                        self.killed = pid
                        return


def ray_processes():
    """Those of any cluster on this machine that this process has started."""
    found = []
    for pid in marked_processes(f"ADVKD_TEST_RAY={os.getpid()}"):
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"raylet" in command or b"gcs_server" in command or command.startswith(b"ray::"):
                found.append(pid)
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
def test_ray_makes_the_bytes_that_threads_make_and_leaves_nothing_running(api, tmp_path, monkeypatch):
    pytest.importorskip("prefect_ray")
    monkeypatch.setenv("ADVKD_TEST_RAY", str(os.getpid()))
    monkeypatch.setattr(fan_out, "ray_options", lambda where: ray_options(where) | {"num_cpus": 2})
    before = signal.getsignal(signal.SIGTERM)
    threads = precompute(replace(SPEC, store=str(tmp_path / "threads")))
    killer = Killer()
    killer.start()
    try:
        cluster = precompute(replace(SPEC, store=str(tmp_path / "ray")), fan_out="ray")
    finally:
        killer.over.set()
        killer.join()
    assert killer.killed is not None
    assert (cluster.computed, cluster.shards, cluster.bytes_written) == (4, 4, threads.bytes_written)
    assert objects(cluster.uri) == objects(threads.uri)
    assert len(objects(cluster.uri)) > 4
    assert open_store(cluster.uri).manifest.digest == open_store(threads.uri).manifest.digest
    assert signal.getsignal(signal.SIGTERM) == before
    assert wait_until(lambda: not ray_processes()), ray_processes()
    # No cluster is started for what is there.
    monkeypatch.setattr("flows.precompute.shard_runner", None)
    again = precompute(replace(SPEC, store=str(tmp_path / "ray")), fan_out="ray")
    assert again.computed == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
def test_a_teacher_s_reference_is_computed_over_ray(api, tmp_path, monkeypatch):
    pytest.importorskip("prefect_ray")
    monkeypatch.setattr(fan_out, "ray_options", lambda where: ray_options(where) | {"num_cpus": 2})
    make_student(load_teacher("mixture")).save_pretrained(tmp_path / "student")
    found = []
    for where in (None, "ray"):
        root = str(tmp_path / str(where))
        spec = EvaluateSpec(
            student=str(tmp_path / "student"), teacher="mixture", out=f"{root}/report", references=root, samples=64
        )
        found.append(evaluate(spec, fan_out=where))
        assert missing_pieces(spec) == []
    threads, cluster = found
    assert threads.passes == cluster.passes > 16_384
    assert cluster.report.worth == threads.report.worth


def test_a_place_that_is_none_is_refused_before_there_is_a_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(precompute, argv=["--spec", '{"teacher": "mixture"}', "--fan-out", "dask"])
    said = " ".join(capsys.readouterr().err.split())
    assert caught.value.code == 2
    assert "fan_out must be ray (a cluster on this machine), auto or ray://HOST:10001" in said
    assert precompute.parameters.properties["fan_out"]["anyOf"][0]["pattern"] == r"^(ray|auto|ray://.+)$"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def without_ray(monkeypatch):
    find = fan_out.find_spec
    monkeypatch.setattr(fan_out, "find_spec", lambda name: None if "ray" in name else find(name))


@pytest.mark.parametrize("where", ["ray", "auto", "ray://head:10001"])
def test_without_the_extra_it_is_named_before_anything_starts(where, without_ray, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(precompute, argv=["--spec", '{"teacher": "mixture"}', "--fan-out", where])
    said = " ".join(capsys.readouterr().err.split())
    assert caught.value.code == 2
    assert f"fan_out='{where}' needs Ray, got no ray and no prefect_ray here; run `pip install 'advkd[ray]'`" in said
    assert list(tmp_path.iterdir()) == []


def test_who_only_looks_for_teachers_needs_neither_ray_nor_a_gpu(without_ray):
    _distillable({"preset": "quick", "fan_out": "auto", "device": "cuda"})("mixture")


def test_where_ray_is_looked_for():
    assert check_fan_out("ray") == "ray"
    assert ray_options("ray")["address"] == "local"
    assert ray_options("ray")["include_dashboard"] is False
    options = ray_options("auto")
    assert (options["address"], options["log_to_driver"]) == ("auto", False)
    assert ray_options("ray://head:10001")["address"] == "ray://head:10001"


def test_a_cluster_elsewhere_waits_for_s3_as_long_as_the_run(monkeypatch):
    monkeypatch.delenv(PATIENCE, raising=False)
    assert "runtime_env" not in ray_options("ray://head:10001")
    wait_for_s3()
    assert ray_options("ray://head:10001")["runtime_env"] == {"env_vars": {PATIENCE: S3_SECONDS}}
    # Its workers are started by this process.
    assert "runtime_env" not in ray_options("ray")


def test_threads_are_the_default():
    with shard_runner(None, "cuda", 3) as runner:
        assert runner == ThreadPoolTaskRunner(max_workers=3)


@pytest.mark.parametrize("said", ["0", "-1", "half", ""])
def test_shards_per_gpu_are_a_positive_number(said, monkeypatch):
    monkeypatch.setenv(SHARDS_PER_GPU, said)
    with pytest.raises(ValueError, match="ADVKD_SHARDS_PER_GPU must be a positive number, got"):
        shards_per_gpu()


class Recorded(ThreadPoolTaskRunner):
    """Instead of a cluster: what tasks would ask it for."""

    def __init__(self, init_kwargs):
        super().__init__(max_workers=1)


@pytest.mark.parametrize(("device", "asked"), [("cuda", {"num_gpus": 0.25}), ("cpu", {})])
def test_a_task_asks_for_its_part_of_a_gpu(device, asked, monkeypatch):
    context = pytest.importorskip("prefect_ray.context")
    monkeypatch.setattr("prefect_ray.RayTaskRunner", Recorded)
    monkeypatch.setenv(SHARDS_PER_GPU, "4")
    with shard_runner("auto", device, 1):
        assert context.RemoteOptionsContext.get().current_remote_options == asked
    assert context.RemoteOptionsContext.get().current_remote_options == {}


class Failing(ThreadPoolTaskRunner):
    """A cluster of which a part has started."""

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, init_kwargs):
        super().__init__(max_workers=1)

    def __enter__(self):
        self.started.append(subprocess.Popen(["sleep", "600"]))
        raise Exception("The current node timed out during startup.")


def test_a_cluster_that_does_not_start_leaves_nothing_and_says_what_to_do(monkeypatch):
    pytest.importorskip("prefect_ray")
    monkeypatch.setattr("prefect_ray.RayTaskRunner", Failing)
    message = r"fan_out='ray' needs a Ray cluster that answers, got Exception \(The current node timed out.*; start it"
    with pytest.raises(ConnectionError, match=message), shard_runner("ray", "cpu", 1):
        pass
    (part,) = Failing.started
    assert part.wait(60) == -signal.SIGTERM
