"""The measurements of `make bench-orchestration`: each part returns plain figures, which are kept as JSON."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.cache_process import call
from benchmarks.measure import interleaved, progress
from benchmarks.orchestration_runs import (
    TINY,
    distill_plainly,
    resident_megabytes,
    seal_shards,
    shards_by_calls,
    shards_by_claims,
    shards_by_flow,
    share,
    write_shards,
)
from flows.processes import own_server
from flows.serving.database import VARIABLE, database_settings
from flows.serving.serve import CLIENT_ENVIRONMENT
from flows.serving.worker import declared_environment
from tests.faulty_proxy import faulty_proxy
from tests.flows.deployed_home import clean_environment
from tests.flows.machine import OUR_WORKER, Machine, prefect_machine
from tests.postgres_server import serve_postgres
from tests.s3_server import serve_s3

_QUIET = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR"}
_PATIENCE_SECONDS = 600
_RECORDING_SECONDS = 120
"""For so long a server may go on recording what runs have sent."""


@dataclass(frozen=True)
class Scale:
    """How much of it is measured."""

    repeats: int
    shards: int
    """Of the runs that are compared."""
    many: int
    """Of the long run."""
    shared: int
    """Shards that two workers share."""


SCALES = {"real": Scale(3, 200, 1000, 12), "small": Scale(1, 8, 24, 4)}


def distillation(folder: Path, scale: Scale) -> dict[str, Any]:
    """A tiny distillation through server and worker, and as plain calls in a new process, in turns.

    Through the worker it is forked, as under `make serve`, and once more started by Prefect: a variable that the fork
    server does not have leaves a run to it.
    """
    runs = []
    with prefect_machine(folder, dict(CLIENT_ENVIRONMENT), worker=OUR_WORKER) as machine, _client(machine) as client:
        for repeat in range(scale.repeats):
            began, worked = time.perf_counter(), _worked_below()
            calls = call(distill_plainly, str(folder / f"plain-{repeat}"), environment={"OMP_NUM_THREADS": "1"})
            process, process_worked = time.perf_counter() - began, _worked_below() - worked
            new = _deployed(client, folder / f"new-{repeat}", {"ADVKD_BENCHMARK": "a new interpreter"})
            deployed = _deployed(client, folder / f"deployed-{repeat}", {})
            runs.append({**calls, "process": process, "process_worked": process_worked, "new": new, **deployed})
            progress(f"  distillation {repeat + 1}/{scale.repeats}: {runs[-1]}")
    return {"runs": runs}


def _deployed(client: SyncPrefectClient, root: Path, environment: dict[str, str]) -> dict[str, float]:
    """Seconds from asking for a run to its end, those of its way there and of its training, and its CPU seconds."""
    deployment = client.read_deployment_by_name("distill/quick")
    client.update_deployment(
        deployment.id, DeploymentUpdate(job_variables={"env": {**declared_environment(), **environment}})
    )
    # It waits some seconds, which are not the run's.
    worked = _worked_by_machine()
    began = time.perf_counter()
    run = client.create_flow_run_from_deployment(deployment.id, parameters={**TINY, "root": str(root)})
    while not (state := client.read_flow_run(run.id).state) or not state.is_final():
        assert time.perf_counter() - began < _PATIENCE_SECONDS, state
        time.sleep(0.5)
    total = time.perf_counter() - began
    assert state.is_completed(), state
    at = {one.name: one.timestamp for one in client.read_flow_run_states(run.id)}
    return {
        "deployed": total,
        "taken": (at["Pending"] - at["Scheduled"]).total_seconds(),
        "started": (at["Running"] - at["Pending"]).total_seconds(),
        "ran": (at["Completed"] - at["Running"]).total_seconds(),
        "training": json.loads((root / "summary.json").read_text())["seconds"]["train"],
        "deployed_worked": _worked_by_machine() - worked,
    }


def shards(folder: Path, scale: Scale) -> dict[str, Any]:
    """What a mapped task per shard costs, and a long run of them."""
    with prefect_machine(folder, dict(CLIENT_ENVIRONMENT)) as machine, _client(machine) as client:
        environment = {**machine.environment, **_QUIET}
        roots = iter(range(10_000))

        def timed(function: Any) -> float:
            found = call(function, str(folder / f"store-{next(roots)}"), scale.shards, environment=environment)
            return float(found["seconds"] if isinstance(found, dict) else found)

        cases = {function.__name__: function for function in (shards_by_calls, shards_by_claims, shards_by_flow)}
        runs = interleaved(
            {name: lambda function=function: timed(function) for name, function in cases.items()}, scale.repeats
        )
        server = _server(machine)
        known, before = _completed_tasks(client), resident_megabytes(server)
        long = call(shards_by_flow, str(folder / "many"), scale.many, environment=environment)
        ended = time.perf_counter()
        # A plan and a sealing besides.
        while _completed_tasks(client) - known < scale.many + 2 and time.perf_counter() - ended < _PATIENCE_SECONDS:
            time.sleep(0.5)
        long["recorded"] = long["seconds"] + time.perf_counter() - ended
        long["tasks"] = _completed_tasks(client) - known
        long["server"] = [before, resident_megabytes(server)]
        progress(f"  {scale.many} shards: {long['seconds']:.1f} s, all recorded after {long['recorded']:.1f} s")
    return {"shards": scale.shards, "runs": runs, "many": scale.many, "long": long}


def _completed_tasks(client: SyncPrefectClient) -> int:
    asked = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    return int(client._client.post("/task_runs/count", json=asked).json())


def _worked_below() -> float:
    """CPU seconds of all processes that this one has seen the end of."""
    times = os.times()
    return times.children_user + times.children_system


def _worked_by_machine() -> float:
    """CPU seconds of a machine's server and worker, and of all processes that they have seen the end of."""
    # The worker is told of the end of a run's process a moment after the server.
    time.sleep(5.0)
    return sum(sum(one.cpu_times()[:4]) for one in psutil.Process().children(recursive=True))


def _server(machine: Machine) -> int:
    """The process of the machine's server that uses most memory."""
    port = machine.environment["PREFECT_API_URL"].rpartition(":")[2].split("/")[0]
    found = [one for one in psutil.Process().children(recursive=True) if port in " ".join(one.cmdline())]
    return int(max(found, key=lambda one: one.memory_info().rss).pid)


def workers(folder: Path, scale: Scale) -> dict[str, Any]:
    """One and two processes on the shards of one store, in turns; each with one thread of torch."""
    runs = []
    for repeat in range(scale.repeats):
        for count in (1, 2):
            found = _shared(folder / f"shared-{repeat}-{count}", scale.shared, count)
            runs.append({"workers": count, **found})
            progress(f"  {count} workers: {found}")
    return {"shards": scale.shared, "trajectories": 16 * scale.shared, "runs": runs}


def _shared(folder: Path, number: int, count: int) -> dict[str, float]:
    folder.mkdir(parents=True)
    ready, go = [folder / f"ready-{worker}" for worker in range(count)], folder / "go"
    environment = {"OMP_NUM_THREADS": "1"}
    with ThreadPoolExecutor(count) as pool:
        calls = [
            pool.submit(call, share, str(folder / "store"), number, str(one), str(go), environment=environment)
            for one in ready
        ]
        while not all(one.exists() for one in ready):
            assert not any(one.done() for one in calls), [one.result() for one in calls if one.done()]
            time.sleep(0.05)
        go.touch()
        found = [one.result() for one in calls]
    assert sum(one["made"] for one in found) == number, "each shard is computed, and once"
    return {
        "seconds": max(one["seconds"] for one in found),
        "worked": sum(one["worked"] for one in found),
        "fewest": min(one["made"] for one in found),
    }


def databases(folder: Path, scale: Scale) -> dict[str, Any]:
    """Mapped tasks of two flow runs at once, on a server with SQLite and on one with PostgreSQL."""
    found = {"SQLite": _on_database(folder / "sqlite", scale, {})}
    with serve_postgres() as postgres, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, postgres.url(postgres.make_database()))
        settings = database_settings(None)
        patch.delenv(VARIABLE)
        found["PostgreSQL"] = _on_database(folder / "postgres", scale, settings)
    return {"many": scale.many, "found": found}


def _on_database(folder: Path, scale: Scale, settings: dict[str, str]) -> dict[str, Any]:
    folder.mkdir()
    home = folder / "home"
    with own_server(home, "--no-ui", settings=settings) as ready:
        told = {"PREFECT_API_URL": ready(), "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
        machine = Machine({**clean_environment(), **CLIENT_ENVIRONMENT, **told}, folder / "no-worker.log")
        client = _client(machine)
        environment = {**machine.environment, **_QUIET}
        began, worked = time.perf_counter(), _worked_by_machine()
        with ThreadPoolExecutor(2) as pool:
            places = [str(folder / f"store-{number}") for number in range(2)]
            list(pool.map(lambda place: call(shards_by_flow, place, scale.many // 2, environment=environment), places))
        seconds = time.perf_counter() - began
        wanted = scale.many + 4
        while _completed_tasks(client) < wanted and time.perf_counter() - began < seconds + _RECORDING_SECONDS:
            time.sleep(0.5)
        recorded = time.perf_counter() - began
        log = (home / "server.log").read_text(errors="replace")
        found = {
            "seconds": seconds,
            "recorded": recorded,
            "wanted": wanted,
            "tasks": _completed_tasks(client),
            "events": _events(client, "prefect.task-run.Completed"),
            "locked": log.count("database is locked"),
            "server_worked": _worked_by_machine() - worked,
        }
        progress(f"  {found}")
        return found


def _events(client: SyncPrefectClient, name: str) -> int:
    asked = {"filter": {"event": {"name": [name]}}, "limit": 1}
    return int(client._client.post("/events/filter", json=asked).json()["total"])


def requests(folder: Path, scale: Scale) -> dict[str, Any]:
    """Requests per shard: the difference between stores of few and of more shards, counted by a proxy."""
    few, more = 4, 12
    found: dict[str, Any] = {}
    with serve_s3(folder / "s3") as server, faulty_proxy(server.endpoint, 0.0) as proxy:
        environment = {**server.environment(), "AWS_ENDPOINT_URL": proxy.endpoint}

        def counted(function: Any, *arguments: Any) -> int:
            before = proxy.requests
            call(function, *arguments, environment=environment)
            return int(proxy.requests - before)

        for claimed in (False, True):
            counts = []
            for number in (few, more):
                root = server.make_bucket() + "/stores"
                written = counted(write_shards, root, 0, number, claimed)
                counts.append({"shards": number, "written": written, "sealed": counted(seal_shards, root, number)})
            first, second = counts
            found["claimed" if claimed else "plain"] = {
                "counts": counts,
                "per_shard": (second["written"] - first["written"]) / (more - few),
                "per_shard_sealed": (second["sealed"] - first["sealed"]) / (more - few),
            }
        progress(f"  {found}")
    return found


def _client(machine: Machine) -> Any:
    """A client of the machine's server."""
    with temporary_settings(updates={PREFECT_API_URL: machine.environment["PREFECT_API_URL"]}):
        return get_client(sync_client=True)


PARTS = {
    "distillation": distillation,
    "shards": shards,
    "databases": databases,
    "workers": workers,
    "requests": requests,
}
