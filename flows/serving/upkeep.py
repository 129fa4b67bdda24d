"""`python -m flows.upkeep`: does what the automations would have done if the server had not been killed meanwhile.

A server keeps its triggers in memory. If it is killed, it forgets that a run has fallen silent, or that a crashed run
is to be run again, and the run stays in its state for ever. Upkeep finds such runs in the server's database. It does
nothing for an automation of `flows.serving.automations` that is disabled. Only upkeep marks runs that never started: a
trigger that missed an event would take a running run for one. `make serve` runs upkeep beside the server; elsewhere,
run it with `--once` after a restart of the server.
"""

import argparse
import datetime
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL

from advkd.runtime import console
from flows.processes import MAX_RUNS, interrupt_on_hangup, marked_processes, why_no_answer
from flows.serving.automations import AUTOMATIONS, CANCEL_SECONDS, RETRY_SECONDS, SILENCE_SECONDS

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime.datetime]

LOOK_SECONDS = 15.0
PENDING_SECONDS = 300
"""Time from Pending to Running that a run may take: its process imports everything, on a busy machine."""
SLACK_SECONDS = 30
"""How much longer than the automations upkeep waits, so that they act first where they work."""

_NONE, _RESOLUTION = datetime.timedelta(), datetime.timedelta(seconds=2)
_ANY_CLOCK = datetime.timedelta(days=1)
_SILENT, _CANCELLING, _CRASHED = (automation.name for automation in AUTOMATIONS)


@dataclass(frozen=True)
class Rule:
    """What to do with runs that stay in a state too long, and the automation that would have done it, if any."""

    automation: str | None
    seconds: int
    state: State


RULES = {
    StateType.RUNNING: Rule(
        _SILENT,
        SILENCE_SECONDS,
        State(type=StateType.CRASHED, name="Crashed", message=f"no heartbeat for {SILENCE_SECONDS} s, says upkeep"),
    ),
    StateType.PENDING: Rule(
        None,
        PENDING_SECONDS,
        State(type=StateType.CRASHED, name="Crashed", message=f"not running {PENDING_SECONDS} s after it was taken"),
    ),
    StateType.CANCELLING: Rule(
        _CANCELLING,
        CANCEL_SECONDS,
        State(type=StateType.CANCELLED, name="Cancelled", message=f"no process answered for {CANCEL_SECONDS} s"),
    ),
    StateType.CRASHED: Rule(
        _CRASHED,
        RETRY_SECONDS,
        State(type=StateType.SCHEDULED, name="AwaitingRetry", message="the run crashed and is run again by upkeep"),
    ),
}
"""Rules by the state in which a run was forgotten."""
_AT_WORK = (StateType.PENDING, StateType.RUNNING)
"""States of a run that has a process."""


class Upkeep:
    """Looks after the runs of one server.

    Silence counts only from the moment at which the server answers, since nothing could be heard before. All times are
    by the server's clock, whatever the clocks of this machine and of the workers say.
    """

    def __init__(self, clock: Clock = lambda: datetime.datetime.now(datetime.UTC)) -> None:
        self._clock = clock
        self._listening_since: datetime.datetime | None = None
        self.suspects = 0
        """Number of runs that looked forgotten at the last look, but upkeep had not listened long enough to act."""

    def look(self) -> list[str]:
        """Looks at all runs once; returns what it did, for people.

        Raises:
            httpx.HTTPError: the server does not answer; silence then counts from its next answer.
        """
        try:
            with get_client(sync_client=True) as client:
                return self._look(client)
        except (httpx.HTTPError, OSError):
            self._listening_since = None
            raise

    def _look(self, client: SyncPrefectClient) -> list[str]:
        now = self._clock() + _ahead(client)
        kinds = [kind for kind, rule in RULES.items() if _is_on(client, rule.automation)]
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds)))
        )
        self._listening_since = self._listening_since or now
        listened = (now - self._listening_since).total_seconds()
        done, self.suspects = [], 0
        for run in runs:
            if run.state is None or (heard := _last_heard(client, run)) is None:
                continue
            rule = RULES[run.state.type]
            limit = rule.seconds + SLACK_SECONDS
            if (now - heard).total_seconds() < limit:
                continue
            if listened < limit:
                self.suspects += 1
                continue
            # Its process on this machine still exists and is only not heard.
            if run.state.type in _AT_WORK and marked_processes(f"PREFECT__FLOW_RUN_ID={run.id}"):
                continue
            client.set_flow_run_state(run.id, rule.state)
            done.append(f"run {run.name} was {run.state.name} since {heard:%H:%M:%S} UTC, now {rule.state.name}")
        return done


def _ahead(client: SyncPrefectClient) -> datetime.timedelta:
    """Returns how far the server's clock is ahead of this machine's; less than two seconds are none."""
    said = client.request("GET", "/health").headers.get("date")
    now = datetime.datetime.now(datetime.UTC)
    ahead = parsedate_to_datetime(said) - now if said else _NONE
    # The header has whole seconds, and the answer takes a while.
    return ahead if abs(ahead) >= _RESOLUTION else _NONE


def _is_on(client: SyncPrefectClient, name: str | None) -> bool:
    return name is None or any(automation.enabled for automation in client.read_automations_by_name(name))


def _last_heard(client: SyncPrefectClient, run: FlowRun) -> datetime.datetime | None:
    """Returns when a run last gave a sign of life; None if upkeep is not responsible for it."""
    assert run.state is not None
    changed = run.state.timestamp
    if run.state.type == StateType.CRASHED:
        # As in the automation: only deployed runs, and not for ever.
        return changed if run.deployment_id and run.run_count <= MAX_RUNS else None
    if run.state.type != StateType.RUNNING:
        return changed
    if (beat := _last_heartbeat(client, run.id)) is not None:
        return max(beat, changed)
    # A first heartbeat may be lost with the server. `python -m flows.<name>` on a user's own server sends none.
    return changed if _is_deployed(client, run) else None


def _last_heartbeat(client: SyncPrefectClient, run: UUID) -> datetime.datetime | None:
    wanted = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run}"]},
        # The server leaves out what a worker whose clock is ahead has said, unless it is asked.
        "occurred": {"until": (datetime.datetime.now(datetime.UTC) + _ANY_CLOCK).isoformat()},
        "order": "DESC",
    }
    events = client.request("POST", "/events/filter", json={"filter": wanted, "limit": 1}).json()["events"]
    # When the server received it: the clock of a worker may be minutes off.
    return datetime.datetime.fromisoformat(events[0]["received"]) if events else None


def _is_deployed(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Returns whether a run or its parent belongs to a deployment: `prefect.yaml` makes these send heartbeats."""
    while run.parent_task_run_id is not None:
        parent = client.read_task_run(run.parent_task_run_id).flow_run_id
        if parent is None:
            return False
        run = client.read_flow_run(parent)
    return run.deployment_id is not None


def keep(*, once: bool) -> int:
    """Looks for ever, or with `once` until no run is suspect; returns the exit code."""
    upkeep = Upkeep()
    while True:
        try:
            for action in upkeep.look():
                console().print(action, markup=False, soft_wrap=True)
        except (httpx.HTTPError, OSError) as error:
            if once:
                why = why_no_answer(error, PREFECT_API_URL.value())
                return _refuse(f"upkeep needs a Prefect server that answers, but {why}")
            logger.debug("the server does not answer: %s", error)
        if once and not upkeep.suspects:
            return 0
        time.sleep(LOOK_SECONDS)


def _refuse(message: str) -> int:
    console().print(f"error: {message}", style="red", markup=False, soft_wrap=True)
    return 2


def run_upkeep() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m flows.upkeep", description="Ends runs that a server forgot.")
    parser.add_argument(
        "--once", action="store_true", help="end when no run is suspect any more, after six minutes at most"
    )
    options = parser.parse_args()
    interrupt_on_hangup()
    if not PREFECT_API_URL.value():
        sys.exit(_refuse("upkeep needs a Prefect server, got no PREFECT_API_URL; export it"))
    try:
        sys.exit(keep(once=options.once))
    except KeyboardInterrupt:
        sys.exit(130)
