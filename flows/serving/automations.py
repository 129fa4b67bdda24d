"""The automations of a deployed server, as code: they mark silent runs as crashed and run crashed ones again.

A flow run sends a heartbeat every `HEARTBEAT_SECONDS`. If neither the next heartbeat nor the end of the run arrives
within `SILENCE_SECONDS`, its process is gone or cannot reach the server, and the server marks the run Crashed. A
crashed run of a deployment goes back to Scheduled; the next worker takes it, and it resumes from the shards and
checkpoints that exist. `flows.processes.supervision` limits the number of attempts. Subflows have no deployment: they
are only marked, and their parent starts them again.
"""

from collections.abc import Sequence
from datetime import timedelta

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

HEARTBEAT_SECONDS = 30
"""The shortest interval that Prefect allows; `prefect.yaml` sets it for the runs."""
SILENCE_SECONDS = 90
CANCEL_SECONDS = 60
RETRY_SECONDS = 30
"""From the first report of a crash to the next attempt. Prefect's runner reports a killed process, and some seconds
later its worker reports it again; an attempt that had started by then would be marked Crashed too."""

_PREFIX = "advkd: "
_EACH_RUN = {"prefect.resource.id"}
_FLOW_RUN = {"prefect.resource.id": "prefect.flow-run.*"}
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut")
_PAUSES = ("AwaitingRetry", "Paused", "Suspended", "Scheduled")


def _silence_after(
    event: str, awaited: Sequence[str], seconds: int, of: dict[str, str | list[str]] | None = None
) -> EventTrigger:
    """Builds a trigger that fires if none of the awaited events of a flow run follows an event within some seconds."""
    return EventTrigger(
        after={f"prefect.flow-run.{event}"},
        expect={f"prefect.flow-run.{name}" for name in awaited},
        match=_FLOW_RUN,
        match_related=of or {},
        for_each=_EACH_RUN,
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=seconds),
    )


AUTOMATIONS = (
    AutomationCore(
        name=f"{_PREFIX}a silent run has crashed",
        description=f"No heartbeat for {SILENCE_SECONDS} s: the process is gone or cannot reach the server.",
        trigger=_silence_after("heartbeat", ("heartbeat", *_ENDS, *_PAUSES), SILENCE_SECONDS),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=f"no heartbeat for {SILENCE_SECONDS} s; the run goes on from what is there",
            )
        ],
    ),
    AutomationCore(
        name=f"{_PREFIX}a run that nobody cancels is cancelled",
        description=f"Still Cancelling after {CANCEL_SECONDS} s: the process is gone.",
        trigger=_silence_after("Cancelling", _ENDS, CANCEL_SECONDS),
        actions=[
            ChangeFlowRunState(
                state=StateType.CANCELLED, name="Cancelled", message=f"no process answered for {CANCEL_SECONDS} s"
            )
        ],
    ),
    AutomationCore(
        name=f"{_PREFIX}a crashed run is run again",
        description="Back to Scheduled, as by the button Retry; existing shards and checkpoints are kept.",
        trigger=_silence_after(
            "Crashed",
            (*_ENDS, *_PAUSES, "Pending", "Running"),
            RETRY_SECONDS,
            {"prefect.resource.role": "deployment"},
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.SCHEDULED, name="AwaitingRetry", message="the run crashed and is run again"
            )
        ],
    ),
)


def create_automations() -> list[str]:
    """Makes the server's automations equal to those of this file; returns what was changed, for people.

    This file owns the automations whose names begin with "advkd: ". An automation that a user has disabled stays so.
    """
    changed = []
    with get_client(sync_client=True) as client:
        for automation in client.read_automations():
            if automation.name.startswith(_PREFIX) and automation.name not in {ours.name for ours in AUTOMATIONS}:
                client.delete_automation(automation.id)
                changed.append(f"automation {automation.name!r} removed")
        for wanted in AUTOMATIONS:
            existing, *copies = client.read_automations_by_name(wanted.name) or [None]
            for copy in copies:
                client.delete_automation(copy.id)
            if existing is None:
                client.create_automation(wanted)
            elif _rule(AutomationCore.model_validate(existing.model_dump(exclude={"id"}))) != _rule(wanted):
                client.update_automation(existing.id, wanted.model_copy(update={"enabled": existing.enabled}))
            else:
                continue
            changed.append(f"automation {wanted.name!r} put in place")
    return changed


def _rule(automation: AutomationCore) -> dict[str, object]:
    """Returns what an automation does, without whether it is enabled: that is the user's choice."""
    # Not as JSON, which turns sets into lists of random order.
    return automation.model_dump(exclude={"enabled", "owner_resource"}, exclude_none=True)
