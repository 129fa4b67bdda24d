"""`advkd doctor --fix`: what killed runs left behind is removed, and nothing that anybody holds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import StateType
from prefect.states import Running
from typer.testing import CliRunner

from advkd.trajectories import PrecomputeSpec
from advkd.trajectories import filling as library
from flows.doctor import machine as doctor_machine
from flows.doctor.command import doctor
from storage.objects import exists, join, write_bytes
from storage.records import store_uri
from storage.writing import CLAIMS, claim_uri, folder_claim

app = typer.Typer()
app.command()(doctor)

HOLD = """
import sys
from storage.writing import CLAIMS
for uri in sys.argv[1:]:
    assert CLAIMS.take(uri) is None
"""
"""A process that ends without giving back what it has taken."""


def told(*arguments: str, asked: str = "") -> dict:
    result = CliRunner().invoke(app, [*arguments, "--json"], input=asked)
    said = json.loads(result.stdout)
    return {"fixed": said["fixed"], **{finding["check"]: finding for finding in said["findings"]}}


@pytest.fixture
def calm(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(doctor_machine, "_FREE_BYTES", 1)


def test_claims_of_the_dead_and_old_leftovers_go_and_the_living_keep_theirs(calm, tmp_path):
    spec = PrecomputeSpec(teacher="mixture", store=str(tmp_path / "stores"), samples=256, shard_samples=128)
    library.Filling.of(spec).compute(0)
    store = store_uri(spec.store, library.what_is_missing(spec)[0])
    dead = [claim_uri(store, 1), folder_claim(str(tmp_path / "students" / "a"))]
    subprocess.run([sys.executable, "-c", HOLD, *dead], check=True)
    living = folder_claim(str(tmp_path / "students" / "b"))
    assert CLAIMS.take(living) is None
    leftover = Path(store) / ".tmp-000001-1-abcd"
    young = Path(store) / ".tmp-000002-1-abcd"
    for path in (leftover, young):
        path.write_bytes(b"half")
    os.utime(leftover, (time.time() - 2 * 86_400,) * 2)
    try:
        seen = told("--root", str(tmp_path), "--no-server")
        assert seen["orphaned claims"]["fact"].startswith("2 of processes of this machine that are gone")
        assert seen["leftovers"]["fact"].startswith("1 objects (4 B) below")
        assert (seen["orphaned claims"]["ok"], seen["fixed"]) == (True, [])
        declined = CliRunner().invoke(app, ["--root", str(tmp_path), "--no-server", "--fix"], input="n\nn\n")
        assert "Remove 1 leftovers below" in declined.stdout
        assert all(map(exists, dead))
        fixed = told("--root", str(tmp_path), "--no-server", "--fix", "--yes")["fixed"]
        assert fixed == ["1 leftovers removed (4 B)", "2 of 2 claims given back"]
        assert [exists(claim) for claim in [*dead, living]] == [False, False, True]
        assert (leftover.exists(), young.exists()) == (False, True)
        seen = told("--root", str(tmp_path), "--no-server")
        assert seen["orphaned claims"]["fact"] == "none of this machine"
    finally:
        CLAIMS.release(living)


def test_json_cannot_ask(calm, tmp_path):
    result = CliRunner().invoke(app, ["--root", str(tmp_path), "--no-server", "--fix", "--json"])
    assert result.exit_code == 2
    assert "got no --yes" in result.stderr


def test_slots_of_killed_runs_are_given_back_once_nothing_runs(machine, api, calm, tmp_path):
    arguments = ("--root", str(tmp_path), "--fix", "--yes")
    with get_client(sync_client=True) as client:
        limit = GlobalConcurrencyLimitCreate(name="it's odd", limit=2, active_slots=2)
        client.create_global_concurrency_limit(limit)
        deployment = client.read_deployment_by_name("precompute/store")
        run = client.create_flow_run_from_deployment(
            deployment.id, parameters={"spec": {"teacher": "mixture"}}, state=Running()
        )
        try:
            busy = told(*arguments)
            assert "runs are active" in busy["stale slots"]["fact"]
            assert """update 'it'"'"'s odd' --active-slots 0`""" in busy["stale slots"]["remedy"]
            client.set_flow_run_state(run.id, Running().model_copy(update={"type": StateType.COMPLETED}), force=True)
            assert "slots of 1 limits given back" in told(*arguments)["fixed"]
            assert told(*arguments)["stale slots"]["fact"] == "none taken"
            assert client.read_global_concurrency_limit_by_name(limit.name).active_slots == 0
        finally:
            client.delete_flow_run(run.id)
            client.delete_global_concurrency_limit_by_name(limit.name)


def test_a_part_of_the_root_that_is_no_claim_stays(calm, tmp_path):
    write_bytes(join(str(tmp_path), "claims/000001.json"), b"{}")
    assert told("--root", str(tmp_path), "--no-server", "--fix", "--yes")["fixed"] == []
    assert exists(join(str(tmp_path), "claims/000001.json"))
