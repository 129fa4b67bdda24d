"""Runs that a killed server forgot: no trigger waits for them any more, and upkeep does what it would have done."""

import datetime
import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Pending, Running

from flows.serving import upkeep as module
from flows.serving.automations import RETRY_SECONDS, SILENCE_SECONDS
from flows.serving.upkeep import PENDING_SECONDS, SLACK_SECONDS, Upkeep
from tests.flows.processes.test_child import wait_until


class Clock:
    """A clock that can be put forward, since nobody wants to wait for silence."""

    ahead = 0.0

    def __call__(self):
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.ahead)


@pytest.fixture
def client(api):
    """Of a server on which nothing is under way: what other tests left there would be looked after as well."""
    unfinished = [kind for kind in StateType if kind not in TERMINAL_STATES or kind == StateType.CRASHED]
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished)))
        ):
            client.delete_flow_run(run.id)
        yield client


@pytest.fixture
def clock():
    return Clock()


def forgotten_run(client, folder, state=None):
    """A run of a deployment that says it runs, of which the server has heard no heartbeat: its trigger never began."""
    deployment = client.read_deployment_by_name("precompute/store")
    spec = {"teacher": "mixture", "store": str(folder), "samples": 256, "shard_samples": 128}
    return client.create_flow_run_from_deployment(deployment.id, parameters={"spec": spec}, state=state or Running())


@contextmanager
def running_process(run):
    """A process as a worker starts it for a run."""
    environment = {**os.environ, "PREFECT__FLOW_RUN_ID": str(run.id)}
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def state_of(client, run):
    return client.read_flow_run(run.id).state.type


@pytest.mark.slow
def test_a_forgotten_run_is_run_again_to_its_end(machine, client, tmp_path, clock):
    run = forgotten_run(client, tmp_path)
    upkeep = Upkeep(clock)
    assert upkeep.look() == []
    clock.ahead = SILENCE_SECONDS + SLACK_SECONDS + 1
    assert [run.name in what for what in upkeep.look()] == [True]
    # From here on the automation goes on as ever.
    assert wait_until(lambda: state_of(client, run) == StateType.COMPLETED, 240)
    names = [state.name for state in client.read_flow_run_states(run.id)]
    assert names.index("Crashed") < names.index("AwaitingRetry") < names.index("Completed")


def test_silence_counts_from_when_the_server_answers(machine, client, tmp_path, clock):
    run = forgotten_run(client, tmp_path)
    clock.ahead = 1000
    upkeep = Upkeep(clock)
    assert upkeep.look() == []
    assert upkeep.suspects == 1
    with temporary_settings(updates={PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(httpx.HTTPError):
        upkeep.look()
    clock.ahead = 2000
    assert upkeep.look() == []
    assert state_of(client, run) == StateType.RUNNING
    client.delete_flow_run(run.id)


def test_a_run_whose_process_lives_and_one_that_owes_no_heartbeats_are_let_be(machine, client, tmp_path, clock):
    @flow(name="somebody-s")
    def theirs():
        pass

    alive = forgotten_run(client, tmp_path)
    owes_none = client.create_flow_run(theirs, state=Running())
    with running_process(alive):
        upkeep = Upkeep(clock)
        upkeep.look()
        clock.ahead = 1000
        assert upkeep.look() == []
    assert [state_of(client, run) for run in (alive, owes_none)] == [StateType.RUNNING] * 2
    for run in (alive, owes_none):
        client.delete_flow_run(run.id)


def test_a_crashed_run_that_nobody_took_up_is_run_again(machine, client, tmp_path, clock):
    name = next(one.name for one in module.AUTOMATIONS if one.name == module._CRASHED)
    run = forgotten_run(client, tmp_path)
    (automation,) = client.read_automations_by_name(name)
    client.pause_automation(automation.id)
    try:
        client.set_flow_run_state(run.id, module.RULES[StateType.RUNNING].state)
        upkeep = Upkeep(clock)
        upkeep.look()
        clock.ahead = RETRY_SECONDS + SLACK_SECONDS + 1
        # Whoever has switched the automation off does not want it done.
        assert upkeep.look() == []
    finally:
        client.resume_automation(automation.id)
    assert state_of(client, run) == StateType.CRASHED
    assert len(upkeep.look()) == 1
    # Before a worker takes it.
    client.set_flow_run_state(run.id, Cancelled(), force=True)
    assert "AwaitingRetry" in [state.name for state in client.read_flow_run_states(run.id)]


def test_a_run_that_never_began_has_crashed_and_one_whose_process_lives_is_let_be(machine, client, tmp_path, clock):
    run, slow, begun = (forgotten_run(client, tmp_path, Pending()) for _ in range(3))
    client.set_flow_run_state(begun.id, Running())
    upkeep = Upkeep(clock)
    assert upkeep.look() == []
    clock.ahead = PENDING_SECONDS + SLACK_SECONDS + 1
    # One has begun, whatever the server has heard of that, and one still imports.
    with running_process(begun), running_process(slow):
        (what,) = upkeep.look()
    assert run.name in what
    assert "Crashed" in [state.name for state in client.read_flow_run_states(run.id)]
    assert (state_of(client, slow), state_of(client, begun)) == (StateType.PENDING, StateType.RUNNING)
    # Before it is run again.
    client.set_flow_run_state(run.id, Cancelled(), force=True)
    for one in (slow, begun):
        client.delete_flow_run(one.id)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_clocks_that_are_minutes_off_make_no_run_silent(machine, client, tmp_path, monkeypatch, minutes):
    off = datetime.timedelta(minutes=minutes)
    run = forgotten_run(client, tmp_path)
    beat = {
        "occurred": (datetime.datetime.now(datetime.UTC) + off).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        "id": str(uuid.uuid4()),
    }
    # A worker's: it says when by its own clock.
    client.request("POST", "/events", json=[beat]).raise_for_status()
    assert wait_until(lambda: module._last_heartbeat(client, run.id) is not None)
    heard = module._last_heartbeat(client, run.id)
    assert abs((datetime.datetime.now(datetime.UTC) - heard).total_seconds()) < 60

    class Off(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + off

    # Upkeep's own.
    patched = SimpleNamespace(datetime=Off, UTC=datetime.UTC, timedelta=datetime.timedelta)
    monkeypatch.setattr(module, "datetime", patched)
    upkeep = Upkeep()
    assert upkeep.look() == []
    assert upkeep.suspects == 0
    client.delete_flow_run(run.id)


def test_once_ends_at_once_where_nobody_is_due(machine):
    done = machine.python("-m", "flows.upkeep", "--once")
    assert (done.returncode, done.stdout) == (0, "")


def test_upkeep_without_a_server_says_so(capsys):
    nowhere = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(updates=nowhere):
        assert module.keep(once=True) == 2
    assert "upkeep needs a Prefect server that answers" in capsys.readouterr().err
