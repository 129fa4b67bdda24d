"""The worker of `make serve`: it forks our runs, leaves others to Prefect, and a forked run can be cancelled."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from flows.engine import FORK_SERVER
from flows.serving.worker import ForkingConfiguration, Forks, declared_environment
from tests.flows.machine import OUR_WORKER, prefect_machine, processes_below
from tests.flows.processes.test_child import wait_until

ENDLESS = {"samples": 10_000_000, "student": {"width": 16, "blocks": 1}}
TINY = {"teacher": "mixture", "precompute": {"samples": 256, "shard_samples": 128}, "train": ENDLESS}


@pytest.fixture(scope="module")
def forking(tmp_path_factory, deployed):
    more = {"ADVKD_CACHE": str(tmp_path_factory.mktemp("cache"))}
    folder = tmp_path_factory.mktemp("forking")
    with prefect_machine(folder, more, deployed=deployed, worker=OUR_WORKER) as running:
        assert wait_until(lambda: len(processes_below("advkd forks")) == 1, 120)
        yield running


@pytest.fixture
def client(forking):
    url = forking.environment["PREFECT_API_URL"]
    with temporary_settings(updates={PREFECT_API_URL: url}), get_client(sync_client=True) as made:
        yield made


def test_a_run_is_forked_and_completes(forking, tmp_path):
    store = f'spec={{"teacher": "mixture", "store": "{tmp_path}", "samples": 128, "shard_samples": 128}}'
    ended = forking.run_deployment("precompute/store", [store])
    log = forking.worker_log.read_text()
    assert ended.returncode == 0, ended.stdout + log
    assert "forked: process" in log
    assert "an interpreter is started instead" not in log
    assert "Warning" not in log
    assert list(tmp_path.glob("**/commits/*.json"))
    assert wait_until(lambda: not processes_below("prefect.engine"))


def test_a_forked_run_is_cancelled_with_its_training_and_the_worker_loads_no_torch(forking, client, tmp_path):
    deployment = client.read_deployment_by_name("distill/quick")
    run = client.create_flow_run_from_deployment(deployment.id, parameters={**TINY, "root": str(tmp_path)})
    assert wait_until(lambda: processes_below("advkd train"), 240), forking.worker_log.read_text()
    # As `prefect flow-run cancel`.
    client.set_flow_run_state(run.id, Cancelling())
    assert wait_until(lambda: not processes_below("advkd train") and not processes_below("prefect.engine"))
    assert wait_until(lambda: client.read_flow_run(run.id).state.is_cancelled()), forking.worker_log.read_text()
    (worker,) = (one for one in psutil.Process().children() if "flows.worker" in one.cmdline())
    assert "libtorch" not in Path(f"/proc/{worker.pid}/maps").read_text()
    (forks,) = processes_below("advkd forks")
    assert "libtorch" in Path(f"/proc/{forks.pid}/maps").read_text()


def test_a_worker_frees_what_runs_have_left_in_cycles_after_a_few():
    code = """
import gc, sys, weakref
import prefect.workers.process
from flows.serving.worker import collect_sooner
sys.argv[1:] and collect_sooner()

class Client:
    pass

left = weakref.WeakSet()
most = 0
for run in range(100):
    client = Client()
    client.itself = client, [[] for _ in range(1000)]
    left.add(client)
    # A run lasts longer than the collector's young generations.
    gc.collect(1)
    most = max(most, len(left))
print(most)
"""

    def most(*choice):
        ended = subprocess.run([sys.executable, "-c", code, *choice], capture_output=True, text=True, check=True)
        return int(ended.stdout)

    assert most("sooner") < most() / 2
    assert most("sooner") < 25


def test_a_fork_server_that_was_ended_is_started_again_and_leaves_no_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    forks = Forks({})
    for end in (signal.SIGTERM, signal.SIGKILL):
        assert forks.ensure()
        (folder,) = tmp_path.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        # While it imports, it has no socket yet.
        forks._process.send_signal(end)
        forks._process.wait()
    assert forks.ensure()
    assert len(list(tmp_path.iterdir())) == 1
    forks.end()
    assert list(tmp_path.iterdir()) == []
    # The kernel has no room for a longer one.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    assert not forks.ensure()


@pytest.fixture
def configured(monkeypatch, tmp_path):
    """The configuration of a run, by what its deployment says."""
    forks = Forks(declared_environment())
    forks.path = str(tmp_path / "socket")
    monkeypatch.setattr(forks, "ensure", lambda: True)
    monkeypatch.setattr(ForkingConfiguration, "forks", forks)

    def configure(entrypoint="flows.deployed.distill", **given):
        made = ForkingConfiguration(**given)
        run = FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="a-run")
        deployment = DeploymentResponse.model_construct(id=uuid.uuid4(), name="quick", entrypoint=entrypoint)
        made.prepare_for_flow_run(run, deployment)
        return made

    return configure


def test_a_run_as_declared_is_forked(configured):
    made = configured(env=declared_environment())
    assert "flows.engine" in made.command
    assert made.env[FORK_SERVER].endswith("socket")
    # What this process has, a run has.
    assert configured(env={**declared_environment(), "PATH": os.environ["PATH"]}).env[FORK_SERVER]


@pytest.mark.parametrize(
    "given",
    [
        {"env": {}},
        {"env": {**declared_environment(), "OMP_WAIT_POLICY": "ACTIVE"}},
        {"env": {**declared_environment(), "OMP_NUM_THREADS": "3"}},
        {"env": {**declared_environment(), "CUDA_VISIBLE_DEVICES": "1"}},
        {"env": {**declared_environment(), "PATH": None}},
        {"env": declared_environment(), "command": "python -m prefect.engine"},
        {"env": declared_environment(), "entrypoint": "mine.py:distill"},
        {"env": declared_environment(), "entrypoint": None},
    ],
)
def test_a_run_that_needs_its_own_interpreter_is_left_to_prefect(configured, given):
    made = configured(**given)
    assert "flows.engine" not in made.command
    assert FORK_SERVER not in made.env


def test_what_deployments_set_is_in_the_fork_servers_environment():
    assert declared_environment() == {
        "OMP_WAIT_POLICY": "PASSIVE",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_CLIENT_MAX_RETRIES": "7",
    }
