"""A run ends when it must, although its process blocks, its worker is gone, or nobody hears of it any more."""

import datetime
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterStartTime
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import Event
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling, Running

from flows.processes import supervision
from storage import is_sealed
from tests.flows.machine import CHECKOUT
from tests.flows.processes.test_child import wait_until


@pytest.fixture
def client(api):
    with get_client(sync_client=True) as client:
        yield client


def tell(client, run, event, seconds_ago):
    """Has the server hear of a run, by the API rather than by a queue of this process that may be slow to empty."""
    occurred = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds_ago)
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}"}
    event = Event(event=f"prefect.flow-run.{event}", resource=resource, occurred=occurred)
    client.request("POST", "/events", json=[event.model_dump(mode="json")])


@contextmanager
def blocked_run(machine, client, seconds) -> Iterator[tuple["subprocess.Popen[bytes]", FlowRun]]:
    """A process that runs the flow `blocked`, and its run."""
    began = datetime.datetime.now(datetime.UTC)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.processes.blocked", str(seconds)],
        cwd=CHECKOUT,
        env=machine.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        found = []

        def running():
            found[:] = [
                run
                for run in client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(start_time=FlowRunFilterStartTime(after_=began))
                )
                if run.state_type == StateType.RUNNING
            ]
            return found

        assert wait_until(running, 240)
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


def test_a_time_out_is_enforced_although_the_process_blocks(machine, client):
    with blocked_run(machine, client, 2) as (process, run):
        began = time.monotonic()
        assert process.wait(60) < 0
        # The time-out, the grace, a look, and a busy machine.
        assert time.monotonic() - began < 30
        state = client.read_flow_run(run.id).state
        assert (state.type, state.name) == (StateType.FAILED, "TimedOut")
        assert "blocked beyond its time-out" in state.message


def test_a_cancelled_run_that_no_worker_ends_ends_itself_within_ten_seconds(machine, client):
    with blocked_run(machine, client, 1000) as (process, run):
        client.set_flow_run_state(run.id, Cancelling(), force=True)
        began = time.monotonic()
        process.wait(60)
        assert time.monotonic() - began < 10
        assert client.read_flow_run(run.id).state.type == StateType.CANCELLED


def test_a_run_that_was_begun_too_often_fails_for_good(api, monkeypatch):
    """A run crashes and is begun again, and again: the tenth time is the last."""
    ended = []

    class GivenUpError(Exception):
        pass

    def give_up(client, run_id, kind, name, message):
        ended.append((kind, name, message))
        raise GivenUpError

    run = FlowRun(flow_id=uuid4(), run_count=supervision.MAX_RUNS + 1, state=Running())
    monkeypatch.setattr(supervision, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(supervision, "_give_up", give_up)
    monkeypatch.setattr(supervision, "_read", lambda client, run_id: run)
    with pytest.raises(GivenUpError):
        supervision._watch(run.id, "blocked", None)
    assert ended == [(StateType.FAILED, "CrashLoop", "begun 10 times and crashed each time")]


@pytest.mark.parametrize(
    ("asked", "status", "ends"),
    [
        ("{api}/flow_runs/", None, "ReadTimeout"),
        ("{api}/flow_runs/", 503, "HTTPStatusError"),
        ("{api}/flow_runs/", 422, None),
        ("https://elsewhere.example/model", None, None),
        (None, None, None),
    ],
)
def test_a_run_that_its_server_does_not_answer_has_crashed_and_not_failed(api, monkeypatch, asked, status, ends):
    @flow(on_failure=[supervision.crash_if_cut_off])
    def cut_off():
        if asked is None:
            raise ValueError("of its own")
        url = asked.format(api=PREFECT_API_URL.value())
        request = httpx.Request("GET", url)
        if status is None:
            raise httpx.ReadTimeout("too late", request=request)
        raise httpx.HTTPStatusError("unable", request=request, response=httpx.Response(status, request=request))

    ended = []
    # In the place of a SIGKILL.
    monkeypatch.setattr(supervision, "_give_up", lambda client, run_id, *what: ended.append(what))
    # As a plain function it fails, and whoever called it is told.
    with pytest.raises((httpx.HTTPError, ValueError)):
        cut_off()
    assert ended == []
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
    with pytest.raises((httpx.HTTPError, ValueError)):
        cut_off()
    assert ended == ([(StateType.CRASHED, "Crashed", f"the server did not answer: {ends}")] if ends else [])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_silent_run_is_marked_crashed_and_run_again(machine, client, tmp_path):
    """As after a SIGKILL of worker and run, whose last heartbeat was 80 seconds ago."""
    deployment = client.read_deployment_by_name("precompute/store")
    spec = {"teacher": "mixture", "store": str(tmp_path), "samples": 256, "shard_samples": 128}
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"spec": spec}, state=Running())
    # A server that has just been given its automations may miss a single heartbeat; a real run sends one every 30 s.
    for _ in range(5):
        tell(client, run, "heartbeat", 80)
        if wait_until(lambda: client.read_flow_run(run.id).state.type != StateType.RUNNING, 25):
            break
    assert wait_until(lambda: client.read_flow_run(run.id).state.type == StateType.COMPLETED, 240)
    states = [state.name for state in client.read_flow_run_states(run.id)]
    assert states.index("Crashed") < states.index("AwaitingRetry") < states.index("Completed")
    from advkd.trajectories import PrecomputeSpec
    from advkd.trajectories import filling as library

    identity, missing = library.what_is_missing(PrecomputeSpec(**spec))
    assert missing == []
    assert is_sealed(str(tmp_path), identity, 256)


def test_a_cancelled_run_without_a_process_is_cancelled(machine, client):
    deployment = client.read_deployment_by_name("precompute/store")
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"spec": {}}, state=Running())
    # The server's own event, which follows, changes nothing for a trigger that waits already.
    tell(client, run, "Cancelling", 55)
    client.set_flow_run_state(run.id, Cancelling(), force=True)
    assert wait_until(lambda: client.read_flow_run(run.id).state.type == StateType.CANCELLED, 240)
