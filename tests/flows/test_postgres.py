"""Prefect's server on PostgreSQL, as teams run it: two workers, a killed run, a database that goes away and returns."""

import contextlib
import signal
import time
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.doctor.prefect import _database
from flows.serving.database import VARIABLE, database_settings
from storage import list_stores, verify
from tests.flows.deployed_home import clean_environment
from tests.flows.machine import Machine, _worker
from tests.flows.processes.test_child import wait_until
from tests.flows.team_server import team_server
from tests.postgres_server import serve_postgres

pytestmark = pytest.mark.slow
TINY = {
    "teacher": "mixture",
    "precompute": {"samples": 256, "shard_samples": 16, "block_samples": 16},
    "train": {"samples": 512, "student": {"width": 16, "blocks": 1}, "rise_samples": 64},
    "samples": 64,
}
_PATIENCE_SECONDS = 1200


def state_of(client: SyncPrefectClient, run: UUID) -> str:
    state = client.read_flow_run(run).state
    return "" if state is None else state.type.value


def process_of(run: UUID) -> list[psutil.Process]:
    """The processes that run a flow run, as its worker has started it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            own = process.environ().get("PREFECT__FLOW_RUN_ID") == str(run)
            if own and "prefect.engine" in " ".join(process.cmdline()):
                found.append(process)
    return found


def count(client: SyncPrefectClient, what: str, asked: dict) -> int:
    return int(client.request("POST", what, json=asked).json()["total"])


@pytest.mark.timeout(3600)
def test_a_run_survives_its_own_death_and_the_database_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_postgres() as postgres:
        name = postgres.make_database()
        monkeypatch.setenv(VARIABLE, postgres.url(name))
        settings = database_settings(None)
        monkeypatch.delenv(VARIABLE)
        with team_server(tmp_path / "server", settings) as port:
            url = f"http://127.0.0.1:{port}/api"
            told = {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path / "home"), "PREFECT_WORKER_QUERY_SECONDS": "1"}
            told |= {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
            told["ADVKD_CACHE"] = str(tmp_path / "cache")
            one, two = (Machine(clean_environment() | told, tmp_path / f"worker-{n}.log") for n in (1, 2))
            deployed = one.python("-m", "flows.deploy")
            assert deployed.returncode == 0, deployed.stdout
            with (
                temporary_settings(updates={PREFECT_API_URL: url}),
                get_client(sync_client=True) as client,
                _worker(one),
                _worker(two),
            ):
                assert _database(client).fact == f"PostgreSQL at 127.0.0.1, database {name}"
                deployment = client.read_deployment_by_name("distill/quick")
                asked = {**TINY, "root": str(tmp_path / "runs")}
                run = client.create_flow_run_from_deployment(deployment.id, parameters=asked).id
                stores = tmp_path / "runs" / "stores"
                assert wait_until(lambda: any(stores.glob("**/commits/*.json")), _PATIENCE_SECONDS)
                for process in process_of(run):
                    process.kill()
                assert wait_until(lambda: state_of(client, run) in ("CRASHED", "SCHEDULED"), _PATIENCE_SECONDS)
                assert wait_until(lambda: state_of(client, run) == "RUNNING", _PATIENCE_SECONDS)
                postgres.stop(signal.SIGQUIT)
                time.sleep(5)
                postgres.start()
                ended = wait_until(lambda: state_of(client, run) in ("COMPLETED", "FAILED"), _PATIENCE_SECONDS)
                assert ended, (tmp_path / "server" / "server.log").read_text()[-5000:]
                assert state_of(client, run) == "COMPLETED", one.worker_log.read_text() + two.worker_log.read_text()
            (store,) = list_stores(tmp_path / "runs")
            assert (store.state, verify(store.uri)) == ("sealed", [])
            assert postgres.password not in (tmp_path / "server" / "server.log").read_text()
