"""Starts one distillation per teacher and recipe, however often it is requested.

Prefect keeps a run per idempotency key for ever and returns it to later requests, even if it failed. So the key is the
request's digest and, after a failure, the number of the attempt.
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
"""The server restarts a crashed run (`flows.serving.automations`); one that stays crashed this long has failed."""


@dataclass(frozen=True, kw_only=True)
class RequestSpec:
    """What to start for every new teacher.

    Attributes:
        deployment: name of a deployment of `distill`.
        parameters: parameters of its runs that override the deployment's; all but the teacher.
        attempts: how often a request is run if its runs fail or crash.
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
    """A request to distil one teacher as a spec says; its `digest` is the first run's idempotency key."""

    spec: RequestSpec
    fingerprint: str

    @property
    def digest(self) -> str:
        """sha256 over the teacher's content, deployment and parameters; the teacher's place does not count."""
        requested = {"deployment": self.spec.deployment, "parameters": self.spec.parameters}
        return digest_of({"teacher": self.fingerprint, **requested})

    def key(self, attempt: int) -> str:
        """Returns the idempotency key of an attempt, counted from 1."""
        return self.digest if attempt == 1 else f"{self.digest}-{attempt}"


@dataclass(frozen=True)
class Placed:
    """State of a request.

    Attributes:
        state: "started" (by this call), "running" (or waiting for a worker), "done", "failed" (as often as allowed),
            "cancelled" (by a user, so it is not run again), "new" (dry run: it would be started).
        run: name of the latest run.
        run_id: id of the latest run.
        attempt: number of the latest run.
    """

    state: Literal["new", "started", "running", "done", "failed", "cancelled"]
    run: str = ""
    run_id: str = ""
    attempt: int = 0


def digest_of(facts: Mapping[str, Any]) -> str:
    """Returns the sha256 of JSON facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def deployed(client: SyncPrefectClient, spec: RequestSpec) -> DeploymentResponse | None:
    """Returns the deployment that a spec names, None if there is none."""
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
    """Starts a run of the request unless its latest run is active, done or cancelled, or it has failed too often."""
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
    by_attempt = {keys[run.idempotency_key or ""]: run for run in client.read_flow_runs(flow_run_filter=wanted)}
    attempt = max(by_attempt, default=0)
    return by_attempt.get(attempt), attempt


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
