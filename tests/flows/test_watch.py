"""New teachers, end to end: a bucket on a real S3 server, a schedule, an event, a worker, and no human hand."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from advkd.registry.versions import open_registry, quiet, versions_of
from advkd.teachers.families import folder_fingerprint
from flows.processes.events import REGISTERED
from storage.objects.access import write_bytes
from tests.advkd.evaluation.parts import save_tiny_pipeline
from tests.flows.machine import Machine
from tests.s3_server import S3Server

# A minute where nothing else runs on the cores.
PATIENCE = 400
pytestmark = pytest.mark.timeout(2 * PATIENCE)
TINY = {
    "preset": "quick",
    "precompute": {"samples": 64, "shard_samples": 64, "block_samples": 64, "solver": {"steps": 4}, "captures": 2},
    "train": {"samples": 128, "student": {"width": 16, "blocks": 1}, "rise_samples": 32, "batch_size": 64},
    "samples": 16,
}


@pytest.fixture
def client(machine: Machine) -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings(updates={PREFECT_API_URL: machine.environment["PREFECT_API_URL"]}),
        get_client(sync_client=True) as found,
    ):
        yield found


def upload(folder: Path, uri: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            write_bytes(f"{uri}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def runs(client: SyncPrefectClient, deployment: str) -> list[FlowRun]:
    """All runs of a deployment, those that have yet to start too."""
    chosen = FlowRunFilterDeploymentId(any_=[client.read_deployment_by_name(deployment).id])
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=chosen))


@pytest.fixture
def watching(client: SyncPrefectClient, s3_root: str, tmp_path: Path) -> Iterator[str]:
    """The URI of an empty prefix that `watch-teachers/hourly` looks at every minute, for tiny distillations."""
    hourly = client.read_deployment_by_name("watch-teachers/hourly")
    parameters = {
        "sources": [f"{s3_root}/teachers"],
        "deployment": "distill/quick",
        "parameters": {**TINY, "root": str(tmp_path / "runs")},
        "memory": f"{s3_root}/memory",
        "settle_seconds": 1,
    }
    client.update_deployment(hourly.id, DeploymentUpdate(parameters=parameters))
    often = IntervalSchedule(interval=timedelta(minutes=1), anchor_date=datetime.now(UTC) + timedelta(seconds=2))
    (schedule,) = client.create_deployment_schedules(hourly.id, [(often, True)])
    yield f"{s3_root}/teachers"
    client.delete_deployment_schedule(hourly.id, schedule.id)
    client.update_deployment(hourly.id, DeploymentUpdate(parameters=hourly.parameters))
    for run in runs(client, "watch-teachers/hourly"):
        if run.start_time is None:
            client.delete_flow_run(run.id)


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> object:
    """Asked every other second: the server has two cores for all of this."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(2)
    return met


def events(client: SyncPrefectClient) -> set[str]:
    """Names of all events of ours that the server has."""
    answer = client._client.post("/events/filter", json={"filter": {"event": {"prefix": ["advkd."]}}})
    return {event["event"] for event in answer.json()["events"]}


@pytest.mark.slow
def test_a_teacher_that_is_uploaded_becomes_one_registered_model_and_the_next_look_starts_nothing(
    machine: Machine, client: SyncPrefectClient, s3_server: S3Server, watching: str, tmp_path: Path
) -> None:
    known = {run.id for run in runs(client, "distill/quick")}
    upload(save_tiny_pipeline(tmp_path / "bright"), f"{watching}/bright")
    # What is broken blocks nobody.
    write_bytes(f"{watching}/broken/model_index.json", b"{")

    def distilled() -> list[FlowRun]:
        return [run for run in runs(client, "distill/quick") if run.id not in known]

    def log() -> str:
        return machine.worker_log.read_text()

    assert eventually(lambda: any(run.state.is_final() for run in distilled())), log()
    (run,) = distilled()
    assert run.state.is_completed(), log()
    fingerprint = folder_fingerprint(tmp_path / "bright")
    assert run.parameters["teacher"] == f"{watching}/bright#sha256={fingerprint}"

    # The same teacher again, announced this time and uploaded again, and another look of the schedule.
    upload(tmp_path / "bright", f"{watching}/bright")
    assert emit_event(REGISTERED, {"prefect.resource.id": f"{watching}/bright"})
    EventsWorker.drain_all(timeout=60)

    def looks() -> list[FlowRun]:
        return [one for one in runs(client, "watch-teachers/hourly") if one.state.is_completed()]

    assert eventually(lambda: any("announced" in one.parameters for one in looks())), log()
    assert len(looks()) > 1
    assert [one.id for one in distilled()] == [run.id]
    with quiet():
        registry = open_registry(str(tmp_path / "runs"))
        assert [int(one.version) for one in versions_of(registry, "advkd-bright")] == [1]

    told = {"teacher.discovered", "teacher.refused", "distillation.started", "model.registered"}
    assert eventually(lambda: {f"advkd.{name}" for name in told} <= events(client), 60), events(client)
    # So few images are not comparable.
    assert "advkd.model.promoted" not in events(client)
    assert log().count("broken, and left alone until it changes") == 1
    written = [*Path(machine.environment["PREFECT_HOME"]).rglob("*"), *tmp_path.rglob("*"), machine.worker_log]
    assert not [file for file in written if file.is_file() and s3_server.secret.encode() in file.read_bytes()]
