"""One distillation per teacher and recipe, whoever asks for it and however often.

Prefect keeps one run per idempotency key for ever, whatever became of it: asked again, it gives back the run that
failed. So the key is the order's digest and, after a failure, the number of the attempt.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, ParameterTypeError, SignatureMismatchError
from prefect.states import Scheduled

from flows.distill import distill

_NAME = re.compile(r"distill/[^/]+")
_SETTLED_SECONDS = 600.0
"""A crashed run is begun again by the server (`flows.serving.automations`); one that has been for so long is not."""


@dataclass(frozen=True, kw_only=True)
class RequestSpec:
    """What is started for every new teacher.

    Attributes:
        deployment: name of a deployment of `distill`.
        parameters: for its runs, on top of its own; all but the teacher.
        attempts: runs of one order in all, where they fail or crash.
    """

    deployment: str = "distill/full"
    parameters: dict[str, Any]
    attempts: int = 3

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.deployment):
            raise ValueError(
                f"a deployment of distill is named distill/<name>, got {self.deployment!r}; see prefect.yaml"
            )
        if self.attempts < 1:
            raise ValueError(f"attempts must be positive, got {self.attempts}; use 3")
        if "teacher" in self.parameters:
            raise ValueError(
                f"parameters must leave the teacher to the watcher, got {self.parameters['teacher']!r}; name it among "
                "the sources instead"
            )
        try:
            distill.validate_parameters(self.parameters)
        except (ParameterTypeError, SignatureMismatchError) as error:
            raise ValueError(
                f"parameters must be those of distill, got {error}; see `python -m flows.distill --help`"
            ) from error


@dataclass(frozen=True)
class DistillationRequest:
    """A spec's order for one teacher: `digest` is its identity, and so the first run's idempotency key."""

    spec: RequestSpec
    fingerprint: str

    @property
    def digest(self) -> str:
        """sha256 over the teacher's content and all that is asked for; where the teacher is does not count."""
        asked = {"deployment": self.spec.deployment, "parameters": self.spec.parameters}
        return digest_of({"teacher": self.fingerprint, **asked})

    def key(self, attempt: int) -> str:
        """The idempotency key of an attempt, from 1 on."""
        return self.digest if attempt == 1 else f"{self.digest}-{attempt}"


@dataclass(frozen=True)
class Placed:
    """What has become of an order.

    Attributes:
        state: "started" (by this call), "running" (or waiting for a worker), "done", "failed" (as often as allowed),
            "cancelled" (by hand, so it is left at that), "new" (dry run: it would be started).
        run: name of the latest run.
        run_id: its id.
        attempt: its number.
    """

    state: Literal["new", "started", "running", "done", "failed", "cancelled"]
    run: str = ""
    run_id: str = ""
    attempt: int = 0


def digest_of(facts: Mapping[str, Any]) -> str:
    """sha256 of JSON facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def deployed(client: SyncPrefectClient, spec: RequestSpec) -> DeploymentResponse | None:
    """The deployment, None if there is none of that name."""
    try:
        return client.read_deployment_by_name(spec.deployment)
    except ObjectNotFound:
        return None


def place(
    client: SyncPrefectClient,
    deployment: DeploymentResponse | None,
    order: DistillationRequest,
    teacher: str,
    *,
    dry: bool,
) -> Placed:
    """Starts the order's run unless there is one that runs, has ended well, was cancelled, or failed too often."""
    latest, attempt = _latest(client, order)
    placed = _what_became(latest, attempt, order.spec.attempts)
    if placed is not None:
        return placed
    if dry or deployment is None:
        return Placed("new", attempt=attempt + 1)
    run = client.create_flow_run_from_deployment(
        deployment.id,
        parameters={**order.spec.parameters, "teacher": teacher},
        state=Scheduled(),
        name=f"distill-{order.fingerprint[:8]}-{order.digest[:8]}-{attempt + 1}",
        tags=[f"teacher:{order.fingerprint[:12]}"],
        idempotency_key=order.key(attempt + 1),
    )
    return Placed("started", run.name, str(run.id), attempt + 1)


def _latest(client: SyncPrefectClient, order: DistillationRequest) -> tuple[FlowRun | None, int]:
    keys = {order.key(attempt): attempt for attempt in range(1, order.spec.attempts + 1)}
    wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=list(keys)))
    found = {keys[run.idempotency_key or ""]: run for run in client.read_flow_runs(flow_run_filter=wanted)}
    attempt = max(found, default=0)
    return found.get(attempt), attempt


def _what_became(run: FlowRun | None, attempt: int, attempts: int) -> Placed | None:
    if run is None:
        return None
    facts = (run.name, str(run.id), attempt)
    if run.state_type == StateType.COMPLETED:
        return Placed("done", *facts)
    if run.state_type in (StateType.CANCELLED, StateType.CANCELLING):
        return Placed("cancelled", *facts)
    if run.state_type == StateType.FAILED or _has_crashed(run):
        return Placed("failed", *facts) if attempt >= attempts else None
    return Placed("running", *facts)


def _has_crashed(run: FlowRun) -> bool:
    if run.state is None or run.state.type != StateType.CRASHED:
        return False
    return (datetime.now(UTC) - run.state.timestamp).total_seconds() > _SETTLED_SECONDS
