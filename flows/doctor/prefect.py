"""Checks of `advkd doctor` on the Prefect server: is it up, does it have what `make deploy` makes, is a run stuck."""

import datetime
from collections.abc import Callable, Iterable
from shlex import quote
from typing import Any, TypeVar

import httpx
import prefect
import torch
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from advkd.runtime import masked
from flows.doctor.checks import Check, Finding, Fix, advice, problem, well
from flows.processes import why_no_answer
from flows.serving import (
    AUTOMATIONS,
    CANCEL_SECONDS,
    PENDING_SECONDS,
    SILENCE_SECONDS,
    declaration,
    how_to_deploy,
    pool_limits,
    queue_limits,
)

Answer = TypeVar("Answer")

_DEPLOY = f"run `{how_to_deploy()}`"
_SLACK_SECONDS = 60
_SEVERAL = 2
"""From so many workers on SQLite is not what a server should have."""
_STUCK = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)


def prefect_checks() -> dict[str, Check]:
    """Returns the checks of the server by name; if there is no server, a single one that says so."""
    url = PREFECT_API_URL.value()
    remedy = "start a server with `make serve` or `prefect server start`, and `export PREFECT_API_URL=http://.../api`"
    if not url:
        return {"Prefect API": lambda: [problem("Prefect API", "PREFECT_API_URL is not set", remedy)]}
    try:
        with get_client(sync_client=True) as client:
            version = client.api_version()
    except (httpx.HTTPError, OSError) as error:
        fact, _, said = why_no_answer(error, url).partition("; ")
        return {"Prefect API": lambda: [problem("Prefect API", fact, remedy if "does not answer" in fact else said)]}
    return {
        "Prefect API": lambda: [_versions(url, version)],
        "database": lambda: [_asked(_database)],
        "work pools": lambda: _asked(_pools),
        "deployments": lambda: _asked(_deployments),
        "automations": lambda: [_asked(_automations)],
        "stale runs": lambda: [_asked(_stale_runs)],
        "stale slots": lambda: [_asked(_stale_slots)],
    }


def _asked(question: Callable[[SyncPrefectClient], Answer]) -> Answer:
    with get_client(sync_client=True) as client:
        return question(client)


def _versions(url: str, server: str) -> Finding:
    if server.split(".")[:2] != prefect.__version__.split(".")[:2]:
        fact = f"the server at {url} is Prefect {server}, this is {prefect.__version__}"
        return problem("Prefect API", fact, "install the same version on both sides")
    return well("Prefect API", f"{masked(url)}, Prefect {server}")


def _database(client: SyncPrefectClient) -> Finding:
    settings = client.request("GET", "/admin/settings").json()["server"]["database"]
    if settings["driver"] == "postgresql+asyncpg":
        return well("database", f"PostgreSQL at {settings['host'] or 'localhost'}, database {settings['name']}")
    if settings["connection_url"] and settings["driver"] is None:
        return well("database", "one whose URL the server keeps secret")
    online = sum(
        worker.status == WorkerStatus.ONLINE
        for pool in client.read_work_pools()
        for worker in client.read_workers_for_work_pool(pool.name)
    )
    if online < _SEVERAL:
        return well("database", "SQLite")
    fact = f"SQLite, with {online} workers online: a busy server loses events, which upkeep makes up for"
    return advice("database", fact, "give it PostgreSQL: `make serve SERVE='--postgres postgresql://USER@HOST/NAME'`")


def _pools(client: SyncPrefectClient) -> list[Finding]:
    findings = []
    for name in pool_limits():
        try:
            pool = client.read_work_pool(name)
        except ObjectNotFound:
            findings.append(problem(f"work pool {name}", "it does not exist", _DEPLOY))
            continue
        if pool.is_paused:
            findings.append(problem(f"work pool {name}", "it is paused", f"run `prefect work-pool resume {name}`"))
            continue
        limit = "no limit" if pool.concurrency_limit is None else f"{pool.concurrency_limit} runs at a time"
        findings.append(well(f"work pool {name}", f"{pool.type}, {limit}"))
        findings.append(_workers(client, name))
        findings += [_queue(client, name, queue) for queue in queue_limits(name)]
    return findings


def _queue(client: SyncPrefectClient, pool: str, name: str) -> Finding:
    check = f"work queue {pool}/{name}"
    try:
        queue = client.read_work_queue_by_name(name, work_pool_name=pool)
    except ObjectNotFound:
        return problem(check, "it does not exist", _DEPLOY)
    if queue.is_paused:
        return problem(check, "it is paused", f"run `prefect work-queue resume {name} --pool {pool}`")
    limit = "no limit" if queue.concurrency_limit is None else f"{queue.concurrency_limit} runs at a time"
    return well(check, limit)


def _workers(client: SyncPrefectClient, pool: str) -> Finding:
    online = [w for w in client.read_workers_for_work_pool(pool) if w.status == WorkerStatus.ONLINE]
    if online:
        return well(f"workers of {pool}", f"{len(online)} online")
    waiting = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        ),
    )
    here = [run for run in waiting if run.work_pool_name == pool]
    # GPU deployments exist everywhere. A worker for them is missing only if there is a GPU, or a run waits for one.
    if pool == "gpu" and not here and not torch.cuda.is_available():
        return well(f"workers of {pool}", "none online, no run is waiting, and this machine has no GPU")
    runs = f", {len(here)} runs are waiting" if here else ""
    return problem(f"workers of {pool}", f"none online{runs}", f"run `prefect worker start --pool {pool}`")


def declared() -> list[dict[str, Any]]:
    """Returns the deployments that `prefect.yaml` declares."""
    loaded: dict[str, Any] = yaml.safe_load(declaration().read_text(encoding="utf-8"))
    return list(loaded["deployments"])


def _deployments(client: SyncPrefectClient) -> list[Finding]:
    return [_deployment(client, entry) for entry in declared()]


def _deployment(client: SyncPrefectClient, entry: dict[str, Any]) -> Finding:
    # By convention the flow's function, module and name are one word, but for `-` and `_`.
    flow = entry["entrypoint"].rpartition(".")[2].replace("_", "-")
    name = f"{flow}/{entry['name']}"
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return problem(f"deployment {name}", "it does not exist", _DEPLOY)
    wanted, pool = entry.get("parameters") or {}, entry["work_pool"]
    schedules = [s for s in (*(entry.get("schedules") or ()), entry.get("schedule")) if s]
    differences = [
        field
        for field, same in (
            ("entrypoint", deployment.entrypoint == entry["entrypoint"]),
            ("parameters", {key: deployment.parameters.get(key) for key in wanted} == wanted),
            ("work pool", deployment.work_pool_name == pool["name"]),
            ("work queue", deployment.work_queue_name == pool.get("work_queue_name", "default")),
            ("job variables", (deployment.job_variables or {}) == (pool.get("job_variables") or {})),
            ("schedules", _crons(s.schedule.model_dump() for s in deployment.schedules) == _crons(schedules)),
        )
        if not same
    ]
    if differences:
        return problem(f"deployment {name}", f"{', '.join(differences)} differ from prefect.yaml", _DEPLOY)
    off = [str(schedule.id) for schedule in deployment.schedules if not schedule.active]
    if off:
        remedy = ", ".join(f"`prefect deployment schedule resume {name} {schedule_id}`" for schedule_id in off)
        return problem(f"deployment {name}", "a schedule is paused", f"run {remedy}")
    if deployment.paused:
        return problem(f"deployment {name}", "it is paused", "enable it on its page in the UI")
    return well(
        f"deployment {name}", f"as in prefect.yaml, in {deployment.work_pool_name}/{deployment.work_queue_name}"
    )


def _crons(schedules: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Returns the cron and time zone of each schedule, to compare them: all of ours are crons."""
    return sorted((str(schedule.get("cron")), str(schedule.get("timezone") or "UTC")) for schedule in schedules)


def _automations(client: SyncPrefectClient) -> Finding:
    by_name = {wanted.name: client.read_automations_by_name(wanted.name) for wanted in AUTOMATIONS}
    missing = [name for name, copies in by_name.items() if len(copies) != 1]
    if missing:
        return problem("automations", f"missing or more than once: {', '.join(missing)}", _DEPLOY)
    off = [name for name, copies in by_name.items() if not copies[0].enabled]
    if off:
        return problem("automations", f"disabled: {', '.join(off)}", "run `prefect automation resume NAME`")
    return well("automations", f"{len(by_name)} in place")


def _stale_runs(client: SyncPrefectClient) -> Finding:
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_STUCK))))
    )
    limit = max(SILENCE_SECONDS, CANCEL_SECONDS, PENDING_SECONDS) + _SLACK_SECONDS
    # Running runs send heartbeats, and the automations act on their silence. The other states should only last briefly.
    stuck = [run for run in runs if run.state_type != StateType.RUNNING and _age(run) > limit]
    if not stuck:
        return well("stale runs", f"none; {len(runs)} active")
    names = ", ".join(f"{run.name} ({run.state_name})" for run in stuck[:5])
    cancels = ", ".join(f"`prefect flow-run cancel {run.id}`" for run in stuck[:5])
    remedy = f"run `python -m flows.upkeep --once`, which resumes or ends them as the automations would, or {cancels}"
    return problem("stale runs", f"{len(stuck)} for more than {limit} s: {names}", remedy)


def _age(run: FlowRun) -> float:
    now = datetime.datetime.now(datetime.UTC)
    return (now - run.state.timestamp).total_seconds() if run.state else 0.0


def _taken(client: SyncPrefectClient) -> tuple[list[Any], list[Any]]:
    """Returns the global limits and the limits of tags that have slots taken."""
    # The limits of deployments are Prefect's own: the server leases their slots and takes them back.
    limits = [
        limit
        for limit in client.read_global_concurrency_limits(limit=200, offset=0)
        if limit.active_slots and not limit.name.startswith("deployment:")
    ]
    return limits, [limit for limit in client.read_concurrency_limits(limit=200, offset=0) if limit.active_slots]


def _stale_slots(client: SyncPrefectClient) -> Finding:
    taken, tags = _taken(client)
    if not taken and not tags:
        return well("stale slots", "none taken")
    names = ", ".join([limit.name for limit in taken] + [f"tag {limit.tag}" for limit in tags])
    remedies = [f"`prefect global-concurrency-limit update {quote(limit.name)} --active-slots 0`" for limit in taken]
    remedies += [f"`prefect concurrency-limit reset {quote(limit.tag)}`" for limit in tags]
    fact = f"taken: {names}; a killed run does not give them back"
    active = _active_runs(client)
    if active:
        return problem("stale slots", f"{fact}; {active} runs are active", f"once nothing runs: {', '.join(remedies)}")
    fix = Fix(f"Give back {names}? Nothing runs.", lambda: _asked(_give_slots_back))
    return problem("stale slots", fact, f"`advkd doctor --fix`, or {', '.join(remedies)}", fix)


def _active_runs(client: SyncPrefectClient) -> int:
    kinds = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_STUCK)))
    return len(client.read_flow_runs(flow_run_filter=FlowRunFilter(state=kinds)))


def _give_slots_back(client: SyncPrefectClient) -> str:
    """Sets the taken slots of all limits to 0, unless a run has begun meanwhile."""
    if _active_runs(client):
        return "no slot given back: a run has begun"
    limits, tags = _taken(client)
    for limit in limits:
        client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=0))
    for limit in tags:
        client.reset_concurrency_limit_by_tag(limit.tag)
    return f"slots of {len(limits) + len(tags)} limits given back"
