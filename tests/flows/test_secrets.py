"""Secrets of the environment are written nowhere: not to logs, stores, claims, Prefect's database or MLflow."""

import logging
from pathlib import Path

import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler

from advkd.registry.tracking import RegisterSpec
from advkd.registry.versions import RegistryError
from advkd.trajectories import PrecomputeSpec
from flows.precompute import precompute
from flows.register import register
from flows.tasks import register_student
from storage import StorePermissionError
from tests.flows.processes.test_child import wait_until


def files_with(folder, marks):
    """Files below a folder, and those of a database that is open, that hold one of the marks."""
    return [
        file
        for file in Path(folder).rglob("*")
        if file.is_file() and any(mark.encode() in file.read_bytes() for mark in marks)
    ]


def test_no_key_is_written_by_a_run_that_completes_or_by_one_that_fails(
    machine, api, s3_root, s3_server, tmp_path, monkeypatch, caplog, capfd
):
    marks = [s3_server.secret, "MARKED-SESSION-TOKEN", "MARKED-WRONG-SECRET"]
    spec = PrecomputeSpec(teacher="mixture", store=s3_root, samples=256, shard_samples=128)
    done = precompute(spec)
    assert done.computed == 2
    monkeypatch.setenv("AWS_SESSION_TOKEN", marks[1])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", marks[2])
    with pytest.raises(StorePermissionError):
        precompute(PrecomputeSpec(teacher="mixture", store=s3_root, samples=512, shard_samples=128))

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=60)
    home = machine.environment["PREFECT_HOME"]
    # What is looked for would be found: the store's address is in the database.
    assert wait_until(lambda: files_with(home, [s3_root]))
    for folder in (home, tmp_path, s3_server.folder):
        assert files_with(folder, marks) == []
    said = caplog.text + "".join(capfd.readouterr())
    assert not [mark for mark in marks if mark in said]


def test_no_secret_is_written_by_a_registration_whether_mlflow_answers_or_not(
    machine, api, evaluated, tmp_path, monkeypatch, caplog, capfd
):
    marks = ["MARKED-PASSWORD", "MARKED-MLFLOW-TOKEN", "MARKED-AWS-SECRET"]
    spec, _ = evaluated
    runs, log = tmp_path / "runs", tmp_path / "log.jsonl"
    asked = RegisterSpec(student=spec.student, report=spec.out, out=str(tmp_path / "artifact"), runs=str(runs))
    for name, value in (
        ("MLFLOW_TRACKING_URI", f"http://user:{marks[0]}@127.0.0.1:9"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"),
        ("MLFLOW_TRACKING_TOKEN", marks[1]),
        ("AWS_SECRET_ACCESS_KEY", marks[2]),
        ("ADVKD_LOG", str(log)),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(register_student, "retries", 0)
    handlers = logging.getLogger().handlers[:]
    try:
        with pytest.raises(RegistryError, match="the registry must answer"):
            register(asked)
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        made = register(asked)
    finally:
        for handler in set(logging.getLogger().handlers) - set(handlers):
            logging.getLogger().removeHandler(handler)
            handler.close()
    assert made.created

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=60)
    home = machine.environment["PREFECT_HOME"]
    # What is looked for would be found: the failure is in Prefect's database and in the log, the model in MLflow's.
    assert wait_until(lambda: files_with(home, ["the registry must answer"]))
    assert "the registry must answer" in log.read_text()
    assert files_with(runs, ["advkd-gaussian"])
    for folder in (home, tmp_path, Path(spec.out)):
        assert files_with(folder, marks) == []
    said = caplog.text + "".join(capfd.readouterr())
    assert "the registry must answer" in said
    assert not [mark for mark in marks if mark in said]
