"""The automations of a deployed server, as code: a silent run has crashed, a crashed one is run again.

A flow run sends a heartbeat every `HEARTBEAT_SECONDS`. If neither another one nor its end comes within
`SILENCE_SECONDS`, its process is gone, or cannot reach the server: the server marks the run Crashed. A crashed run of a
deployment goes back to Scheduled, the next worker takes it, and it goes on from what is there;
`flows.processes.supervision` ends that after a few times. Subflows have no deployment: they are
marked, and begun anew by their parent.
"""

from collections.abc import Sequence
from datetime import timedelta

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

HEARTBEAT_SECONDS = 30
"""The shortest that Prefect allows; `prefect.yaml` says it to the runs."""
SILENCE_SECONDS = 90
CANCEL_SECONDS = 60
RETRY_SECONDS = 30
"""From the first word that a run crashed to its next attempt: Prefect's runner says so of a killed process, and after
some imports its worker once more, which an attempt that has begun by then would not outlive."""

_PREFIX = "advkd: "
_EACH_RUN = {"prefect.resource.id"}
_FLOW_RUN = {"prefect.resource.id": "prefect.flow-run.*"}
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut")
_PAUSES = ("AwaitingRetry", "Paused", "Suspended", "Scheduled")


def _silence_after(
    event: str, awaited: Sequence[str], seconds: int, of: dict[str, str | list[str]] | None = None
) -> EventTrigger:
    """Fires for a flow run of which none of the awaited events comes within some seconds of an event."""
    return EventTrigger(
        after={f"prefect.flow-run.{event}"},
        expect={f"prefect.flow-run.{one}" for one in awaited},
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
        description="Back to Scheduled, as the button Retry does; shards and checkpoints that are there are kept.",
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
    """Has the server hold the automations of this file as they are here, and no others; says what it changed.

    Those whose names begin with "advkd: " are this file's; what somebody has switched off stays off.
    """
    changed = []
    with get_client(sync_client=True) as client:
        for found in client.read_automations():
            if found.name.startswith(_PREFIX) and found.name not in {one.name for one in AUTOMATIONS}:
                client.delete_automation(found.id)
                changed.append(f"automation {found.name!r} removed")
        for wanted in AUTOMATIONS:
            there, *copies = client.read_automations_by_name(wanted.name) or [None]
            for copy in copies:
                client.delete_automation(copy.id)
            if there is None:
                client.create_automation(wanted)
            elif _rule(AutomationCore.model_validate(there.model_dump(exclude={"id"}))) != _rule(wanted):
                client.update_automation(there.id, wanted.model_copy(update={"enabled": there.enabled}))
            else:
                continue
            changed.append(f"automation {wanted.name!r} put in place")
    return changed


def _rule(automation: AutomationCore) -> dict[str, object]:
    """What an automation does; whether somebody has switched it off is theirs to say."""
    # Not as JSON, in which sets are lists in whatever order.
    return automation.model_dump(exclude={"enabled", "owner_resource"}, exclude_none=True)
