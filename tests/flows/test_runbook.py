"""Every command of the runbook in docs/operations.md, run as it stands there."""

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Scheduled

from advkd.registry.promotion import PROMOTED_TAG, REPLACED_TAG
from advkd.registry.versions import DATABASE, open_registry, quiet
from advkd.trajectories import PrecomputeSpec, precompute
from tests.flows.machine import CHECKOUT, Machine

pytestmark = pytest.mark.slow

ELSEWHERE = {
    "python -m flows.worker --pool cpu": "tests/flows/test_typed_lines.py",
    "python -m flows.serve --postgres postgresql://USER@HOST/NAME": "tests/flows/serving/test_serve.py",
}
"""What does not end by itself, and the test that runs it."""


def commands() -> list[str]:
    """The third column of the table."""
    text = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\| `([^`]+)` \|$", text.split("\n## Runbook\n", 1)[1].split("\n## ", 1)[0], re.MULTILINE)
    return list(dict.fromkeys(rows))


def make_registry(folder: Path) -> None:
    """A champion that took over from another version; what it names is gone."""
    with quiet():
        client = open_registry(str(folder))
        client.create_registered_model("m")
        for number in (1, 2):
            client.create_model_version("m", (folder / f"version-{number}").as_uri())
        client.set_model_version_tag("m", "2", PROMOTED_TAG, "then")
        client.set_model_version_tag("m", "2", REPLACED_TAG, "1")
        client.set_registered_model_alias("m", "champion", "2")


@pytest.mark.timeout(1800)
def test_every_command_of_the_runbook_runs(machine: Machine, api: None, tmp_path: Path) -> None:
    make_registry(tmp_path / "runs")
    sizes = {"samples": 8, "block_samples": 8, "shard_samples": 8, "captures": 2}
    store = precompute(PrecomputeSpec(teacher="mixture", store=str(tmp_path / "runs" / "stores"), **sizes))
    (tmp_path / "open").mkdir(mode=0o777)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("precompute/store")
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
        run = client.create_flow_run_from_deployment(
            deployment.id, parameters={"spec": {"teacher": "mixture"}}, state=Scheduled(scheduled_time=later)
        )
    stands_for = {
        "ID": str(run.id),
        "NAME": "m",
        "URI": store.uri,
        "ROOT": str(tmp_path / "runs"),
        "FOLDER": str(tmp_path / "open"),
        "FILE": str(tmp_path / "runs" / DATABASE),
    }
    environment = {
        **machine.environment,
        "PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(CHECKOUT),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    listed = commands()
    assert set(ELSEWHERE) < set(listed)
    failed = {}
    for command in listed:
        if command in ELSEWHERE:
            assert (CHECKOUT / ELSEWHERE[command]).is_file()
            continue
        typed = re.sub(r"\b[A-Z]+\b", lambda word: stands_for.get(word[0], word[0]), command)
        # As typed by somebody in the folder of the runs, where there is no module of ours.
        done = subprocess.run(
            ["bash", "-ec", typed.replace("advkd ", f"{sys.executable} -m advkd ", 1)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        # The doctor's exit code tells of problems, which a machine of tests has.
        if done.returncode and not (command.startswith("advkd doctor") and done.returncode == 1):
            failed[command] = done.stdout
        assert "Traceback" not in done.stdout, (command, done.stdout)
    assert failed == {}
