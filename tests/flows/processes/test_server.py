"""A private server in environments that are meant for other servers."""

import json
import urllib.request
from pathlib import Path

from advkd.runtime import spare_loopback
from flows.processes import own_server
from tests.flows.deployed_home import copy_database


def test_settings_of_another_server_do_not_reach_a_private_one(deployed: Path, tmp_path: Path, monkeypatch) -> None:
    team = tmp_path / "team.db"
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{team}")
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:secret")
    monkeypatch.setenv("PREFECT_SERVER_API_BASE_PATH", "/team")
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    (tmp_path / "profiles.toml").write_text(
        f'active = "team"\n[profiles.team]\nPREFECT_API_DATABASE_CONNECTION_URL = "sqlite+aiosqlite:///{team}"\n'
    )
    # A proxy that no request for this machine may reach: nothing listens there.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    spare_loopback()
    work = tmp_path / "work"
    work.mkdir()
    (work / ".env").write_text("PREFECT_SERVER_API_BASE_PATH=/other\n")
    monkeypatch.chdir(work)
    copy_database(deployed, tmp_path / "home")
    with own_server(tmp_path / "home", "--no-services", "--no-ui") as wait:
        asked = urllib.request.Request(f"{wait()}/deployments/count", b"{}", {"Content-Type": "application/json"})
        # Not `urlopen`, which would keep this test's proxy for all others of the process.
        with urllib.request.build_opener().open(asked, timeout=60) as answer:
            # Those of its own database.
            assert json.loads(answer.read()) > 0
    assert not team.exists()
