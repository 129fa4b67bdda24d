"""A team's server: it asks for a password, lives below a path, behind TLS, and is named by a profile alone."""

import json
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
    temporary_settings,
)

from storage import list_stores
from tests.flows.deployed_home import clean_environment, copy_database
from tests.flows.machine import Machine, _worker
from tests.flows.team_server import certificate, team_server, tls_proxy

pytestmark = pytest.mark.slow
SECRET = "MARKED-password-1"
BASE = "/team/api"
FORM = {"teacher": "mixture", "samples": 256, "shard_samples": 128, "timesteps": None, "solver": {"steps": 4}}
"""As the UI's form sends it: nested, and null for what is left empty."""


@pytest.mark.timeout(1800)
def test_a_run_on_a_server_with_a_password_a_path_and_tls(deployed: Path, tmp_path: Path) -> None:
    settings = {"PREFECT_SERVER_API_AUTH_STRING": f"admin:{SECRET}", "PREFECT_SERVER_API_BASE_PATH": BASE}
    copy_database(deployed, tmp_path / "server")
    public, private = certificate(tmp_path)
    with (
        team_server(tmp_path / "server", settings, BASE) as plain,
        tls_proxy(plain, public, private) as port,
    ):
        url = f"https://127.0.0.1:{port}{BASE}"
        profiles = tmp_path / "profiles.toml"
        profiles.write_text(
            f'active = "team"\n[profiles.team]\nPREFECT_API_URL = "{url}"\n'
            f'PREFECT_API_AUTH_STRING = "admin:{SECRET}"\nPREFECT_API_SSL_CERT_FILE = "{public}"\n'
        )
        more = {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_PROFILES_PATH": str(profiles), "COLUMNS": "200"}
        more |= {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        team = Machine(clean_environment() | more | {"PREFECT_WORKER_QUERY_SECONDS": "1"}, tmp_path / "worker.log")

        again = team.python("-m", "flows.deploy")
        assert again.returncode == 0, again.stdout
        with _worker(team):
            updates = {
                PREFECT_API_URL: url,
                PREFECT_API_AUTH_STRING: f"admin:{SECRET}",
                PREFECT_API_SSL_CERT_FILE: str(public),
            }
            with temporary_settings(updates=updates), get_client(sync_client=True) as client:
                deployment = client.read_deployment_by_name("precompute/store")
                create = f"/deployments/{deployment.id}/create_flow_run"
                spec = {**FORM, "store": str(tmp_path / "stores")}
                # Numbers as text are refused before there is a run.
                with pytest.raises(PrefectHTTPStatusError, match=r"'256' is not of type 'integer'"):
                    client.request("POST", create, json={"parameters": {"spec": {**spec, "samples": "256"}}})
                made = client.request("POST", create, json={"parameters": {"spec": spec}})
                run = made.json()["id"]
                deadline = time.monotonic() + 900
                while not (state := client.read_flow_run(run).state) or not state.is_final():
                    assert time.monotonic() < deadline, team.worker_log.read_text()
                    time.sleep(1)
                assert state.is_completed(), team.worker_log.read_text()
        (store,) = list_stores(tmp_path / "stores")
        assert (store.state, store.num_samples) == ("sealed", 256)
        kept = team.python("-m", "flows.upkeep", "--once")
        assert kept.returncode == 0, kept.stdout
        told = team.python("-m", "advkd", "doctor", "--json", "--root", str(tmp_path), apart=True)
        checks = {finding["check"]: finding for finding in json.loads(told.stdout)["findings"]}
        assert checks["Prefect API"]["ok"], checks["Prefect API"]
        assert checks["deployment precompute/store"]["ok"]
        said = "".join([again.stdout, kept.stdout, told.stdout, told.stderr, team.worker_log.read_text()])
        assert SECRET not in said

        wrong = profiles.read_text().replace(SECRET, "MARKED-wrong")
        profiles.write_text(wrong)
        refused = team.python("-m", "flows.deploy")
        assert refused.returncode == 2
        assert "PREFECT_API_AUTH_STRING" in refused.stdout
        assert "MARKED" not in refused.stdout
