"""Prefect's server on PostgreSQL, as teams run it: two workers, a killed run, a database that goes away and returns."""

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from tests.flows.machine import Machine, _worker, beside
from tests.flows.processes.test_child import wait_until
from tests.flows.team_server import team_server
from tests.postgres_server import Postgres, serve_postgres

pytestmark = pytest.mark.slow
TINY = {
    "teacher": "mixture",
    "precompute": {"samples": 256, "shard_samples": 16, "block_samples": 16},
    "train": {"samples": 512, "student": {"width": 16, "blocks": 1}, "rise_samples": 64},
    "samples": 64,
}
_PATIENCE_SECONDS = 1200
_ENDS = ("COMPLETED", "FAILED")


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


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """Mounts an empty file system of 160 MB, or skips the test; not below its folder, which is closed to others."""
    place = Path(tempfile.mkdtemp(prefix="advkd-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=1777", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        place.rmdir()
        pytest.skip("a disk to fill is mounted by root alone")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()


def fill(file: Path, seconds: float) -> None:
    """Leaves no room on a disk for so long, also where something is deleted meanwhile."""
    end = time.monotonic() + seconds
    with file.open("ab", buffering=0) as sink:
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                sink.write(bytes(4096))
                continue
            time.sleep(0.1)
    file.unlink()


@dataclass(frozen=True)
class Team:
    """Two workers of one server, and a run that they were given."""

    client: SyncPrefectClient
    run: UUID
    folder: Path
    logs: Sequence[Path]

    def reaches(self, *states: str) -> bool:
        return wait_until(lambda: state_of(self.client, self.run) in states, _PATIENCE_SECONDS)

    def begun(self) -> bool:
        """Whether shards have been written."""
        stores = self.folder / "runs" / "stores"
        return wait_until(lambda: any(stores.glob("**/commits/*.json")), _PATIENCE_SECONDS)

    def ended(self) -> bool:
        return state_of(self.client, self.run) in _ENDS

    def said(self) -> str:
        return "".join(log.read_text()[-5000:] for log in self.logs)


@contextlib.contextmanager
def team(postgres: Postgres, folder: Path) -> Iterator[Team]:
    """Starts all of it; a run that has ended must have completed, with a whole store."""
    name = postgres.make_database()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, postgres.url(name))
        settings = database_settings(None)
    server_log = folder / "server" / "server.log"
    with team_server(folder / "server", settings) as port:
        url = f"http://127.0.0.1:{port}/api"
        told = {"PREFECT_API_URL": url, "PREFECT_HOME": str(folder / "home"), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        told |= {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        told["ADVKD_CACHE"] = str(folder / "cache")
        one, two = (Machine(clean_environment() | told, folder / f"worker-{n}.log") for n in (1, 2))
        deployed = one.python("-m", "flows.deploy")
        assert deployed.returncode == 0, deployed.stdout
        with (
            temporary_settings(updates={PREFECT_API_URL: url}),
            get_client(sync_client=True) as client,
            _worker(one),
            _worker(two),
            # As docs/operations.md says: a database that was away has lost what automations waited for.
            beside(one, folder / "upkeep.log", "flows.upkeep"),
        ):
            assert _database(client).fact == f"PostgreSQL at 127.0.0.1, database {name}"
            deployment = client.read_deployment_by_name("distill/quick")
            asked = {**TINY, "root": str(folder / "runs")}
            run = client.create_flow_run_from_deployment(deployment.id, parameters=asked).id
            begun = Team(client, run, folder, (server_log, one.worker_log, two.worker_log))
            yield begun
            assert begun.reaches(*_ENDS), begun.said()
            assert state_of(client, run) == "COMPLETED", begun.said()
    (store,) = list_stores(folder / "runs")
    assert (store.state, verify(store.uri)) == ("sealed", [])
    assert postgres.password not in server_log.read_text()


@pytest.mark.timeout(3600)
def test_a_run_survives_its_own_death_and_the_database_s(tmp_path: Path) -> None:
    with serve_postgres() as postgres, team(postgres, tmp_path) as running:
        assert running.begun()
        for process in process_of(running.run):
            process.kill()
        assert running.reaches("CRASHED", "SCHEDULED")
        assert running.reaches("RUNNING")
        postgres.stop(signal.SIGQUIT)
        time.sleep(5)
        postgres.start()


@pytest.mark.timeout(3600)
def test_a_run_survives_a_full_disk_of_the_database(tmp_path: Path) -> None:
    with (
        small_disk() as disk,
        serve_postgres(disk) as postgres,
        team(postgres, tmp_path) as running,
    ):
        assert running.begun()
        fill(disk / "fill", 60)
        assert not running.ended()
        assert "No space left on device" in (postgres.folder / "log").read_text()
