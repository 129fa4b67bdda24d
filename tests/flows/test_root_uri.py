"""A root in S3: the whole way, nothing twice, nothing left on this machine; without a registry it is refused early."""

import threading
import time
from dataclasses import asdict

import pytest

from advkd.evaluation import EvalReport
from advkd.registry import student_folder
from advkd.students import StudentSpec, load_student
from advkd.training import TrainSpec
from advkd.trajectories import PrecomputeSpec
from flows.distill import distill
from flows.recipe import recipe
from storage import exists, join, list_prefix, read_bytes, read_json
from storage.care import find_garbage
from storage.objects import PATIENCE
from tests.flows.processes.test_child import wait_until
from tests.s3_server import S3Server, start_s3

PRECOMPUTE = PrecomputeSpec(samples=256, shard_samples=128)
TRAIN = TrainSpec(student=StudentSpec(width=16, blocks=1), samples=512, rise_samples=64, checkpoint_every=128)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_distillation_into_s3(api, s3_root, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'registry.db'}")
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    given = {"teacher": "mixture", "root": s3_root, "precompute": PRECOMPUTE, "train": TRAIN, "samples": 64}
    first = distill(preset="quick", **given)
    facts = read_json(join(s3_root, "summary.json"))
    assert facts == first.facts
    for name in ("store", "student", "report", "artifact"):
        assert "://" not in facts[name]
    assert read_bytes(join(s3_root, facts["report"])).startswith(b"<!doctype html>")
    report = EvalReport.from_json(read_bytes(join(s3_root, facts["report"].replace("report.html", "metrics.json"))))
    assert report.samples == 64
    # The weights that were evaluated are those that were registered, and both are at the root.
    there = list_prefix(s3_root)
    artifact = facts["artifact"]
    assert {f"{artifact}/contents.json", f"{artifact}/pipeline.py", f"{artifact}/README.md"} <= set(there)
    assert load_student(student_folder(f"models:/{facts['model']['name']}@challenger", s3_root)).timesteps[0] == 999
    logged = [key for key in there if key.startswith("mlartifacts/")]
    assert any(key.endswith("model/student/config.json") for key in logged)
    assert any(key.endswith("report/report.html") for key in logged)
    assert not any(key.endswith((".claim", "unfinished.json")) for key in there)
    assert find_garbage(s3_root, 0) == []

    again = distill(preset="quick", **given)
    assert (again.facts["trained"], again.facts["shards"]["computed"]) == (False, 0)
    assert again.facts["model"] == facts["model"]
    for stage, counted in again.facts["counters"].items():
        assert not any(value for name, value in counted.items() if name != "seconds"), stage
    assert list_prefix(s3_root) == there
    # This machine keeps the registry, which was asked for, and a cache.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "registry.db"]
    assert list((tmp_path / "cache" / "scratch").iterdir()) == []
    assert asdict(recipe(**given))["root"] == s3_root
    assert exists(join(s3_root, facts["student"], "diffusion_pytorch_model.safetensors"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_s3_server_that_is_restarted_ends_no_distillation(api, tmp_path, monkeypatch):
    """It is away for ten seconds, from about when the registration begins."""
    (tmp_path / "s3").mkdir()
    key, secret = "restarted", "restarted-secret-key"
    process, port = start_s3(tmp_path / "s3", key, secret)
    server = S3Server(f"http://127.0.0.1:{port}", key, secret, tmp_path / "s3")
    for name, value in {**server.environment(), PATIENCE: "60"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'registry.db'}")
    root = server.make_bucket() + "/run"
    running, over = [process], threading.Event()

    def restart():
        running[0].kill()
        running[0].wait()
        time.sleep(10.0)
        running[0] = start_s3(tmp_path / "s3", key, secret, port)[0]

    def watch():
        if wait_until(lambda: list((tmp_path / "s3").rglob("onnx/*/model.onnx")), 400):
            restart()
        # The server goes with the thread that has started it.
        over.wait()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        found = distill(preset="quick", teacher="mixture", root=root, precompute=PRECOMPUTE, train=TRAIN, samples=64)
        assert found.facts["model"]["version"] == "1"
        assert find_garbage(root, 0) == []
    finally:
        over.set()
        watching.join()
        running[0].kill()
        running[0].wait()
