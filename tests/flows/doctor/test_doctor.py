"""`advkd doctor`: every problem is named with its remedy, and the exit code tells."""

import json
import os
from pathlib import Path

import pytest
import typer
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from typer.testing import CliRunner

from advkd.trajectories import PrecomputeSpec
from advkd.trajectories import filling as library
from flows.doctor import machine as doctor_machine
from flows.doctor import prefect as doctor_prefect
from flows.doctor.checks import examine
from flows.doctor.command import doctor
from storage.objects.s3_probe import probe_s3
from storage.records.spec import store_uri
from tests.flows.processes.test_child import wait_until

app = typer.Typer()
app.command()(doctor)


def diagnose(*arguments):
    result = CliRunner().invoke(app, [*arguments, "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code == 0) == told["ok"] == all(finding["ok"] for finding in told["findings"])
    return {finding["check"]: finding for finding in told["findings"]}


@pytest.fixture
def calm(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(doctor_machine, "_FREE_BYTES", 1)


def test_a_deployed_machine_with_a_worker_is_well(machine, api, calm, tmp_path):
    # Asked of the log first: a diagnosis takes a second.
    assert wait_until(lambda: "started" in machine.worker_log.read_text(), 240)
    # A worker that is busy with the runs of other tests may miss a heartbeat.
    assert wait_until(lambda: diagnose("--root", str(tmp_path))["workers of cpu"]["ok"], 240)
    found = diagnose("--root", str(tmp_path))
    assert [finding for finding in found.values() if not finding["ok"]] == []
    assert {"Prefect API", "work pool cpu", "workers of cpu", "deployment distill/quick", "automations"} <= set(found)


def test_what_differs_from_prefect_yaml_is_named(api, calm, tmp_path, monkeypatch):
    declared = doctor_prefect.declared()
    changed = {**declared[0], "parameters": {"preset": "quick"}}
    monkeypatch.setattr(doctor_prefect, "declared", lambda: [changed, {**declared[0], "name": "other"}])
    found = diagnose("--root", str(tmp_path))
    assert found["deployment distill/full"]["fact"] == "parameters differ from prefect.yaml"
    assert found["deployment distill/other"]["remedy"] == "run `make deploy`"


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9/api"])
def test_a_server_that_is_not_there(url, calm, tmp_path):
    with temporary_settings(updates={PREFECT_API_URL: url or None}):
        found = diagnose("--root", str(tmp_path))
    assert not found["Prefect API"]["ok"]
    assert "make serve" in found["Prefect API"]["remedy"]
    assert "work pool cpu" not in found


def test_the_machine_s_own_problems(calm, tmp_path, monkeypatch):
    assert all(finding["ok"] for finding in diagnose("--root", str(tmp_path), "--no-server").values())
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setattr(doctor_machine, "_FREE_BYTES", 2**80)
    found = diagnose("--root", str(tmp_path), "--no-server")
    assert "export OMP_WAIT_POLICY=PASSIVE" in found["OpenMP"]["remedy"]
    assert "advkd cache" in found["disk"]["remedy"]
    monkeypatch.setattr(doctor_machine, "_SMALL_BYTES", 2**80)
    found = diagnose("--root", str(tmp_path), "--no-server")
    assert str(PREFECT_HOME.value().parent) in found["Prefect's home"]["fact"]
    assert "set PREFECT_HOME to another folder" in found["Prefect's home"]["remedy"]


def test_a_store_that_nobody_fills_any_more(calm, tmp_path):
    spec = PrecomputeSpec(teacher="mixture", store=str(tmp_path / "stores"), samples=256, shard_samples=128)
    library.Filling.of(spec).compute(0)
    uri = store_uri(spec.store, library.what_is_missing(spec)[0])
    assert diagnose("--root", str(tmp_path), "--no-server")["stale stores"]["ok"]
    os.utime(Path(uri) / "commits" / "000000.json", (0, 0))
    found = diagnose("--root", str(tmp_path), "--no-server")["stale stores"]
    assert not found["ok"]
    assert uri in found["fact"]


def test_s3_that_works_leaves_nothing_behind(s3_root, s3_server):
    probes = {probe.name: probe for probe in probe_s3(s3_root)}
    assert all(probe.ok for probe in probes.values()), probes
    assert list(probes)[-1] == "S3 delete"
    # rclone knows no conditional PUT, and the doctor must not believe it does.
    assert "not supported" in probes["S3 conditional put"].fact
    assert not [path for path in s3_server.folder.rglob("*doctor*") if path.is_file()]


def test_s3_without_rights_is_one_problem_with_a_remedy(s3_root, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    found = {finding.check: finding for finding in examine({"S3": lambda: doctor_machine._s3(s3_root)})}
    assert not found["S3 put"].ok
    assert "s3:PutObject" in found["S3 put"].remedy
    assert "S3 get" not in found


def test_a_check_that_fails_is_a_finding():
    def broken():
        raise OSError("no such\nthing")

    (finding,) = examine({"disk": broken})
    assert (finding.ok, finding.fact) == (False, "OSError: no such thing")
