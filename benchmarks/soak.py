"""`make soak`: tiny distillations below `make serve`, of which something is killed at a random instant.

SIGKILL hits the worker, the flow's process, the training process, the server with all of its processes, or a worker
of the Ray cluster that computes the shards of its run, in turns.
Each kill is a file `runs/soak/kill-*.json`, so that the next call goes on with the next one: `--kills` is how many
there shall be in all. A kill that finds nobody, since the run has ended, is not counted.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.measure import ROOT, progress
from benchmarks.soak_page import write_page
from flows.automations import RETRY_SECONDS, SILENCE_SECONDS
from flows.server import free_port
from flows.upkeep import LOOK_SECONDS, SLACK_SECONDS
from storage import verify

KEPT = ROOT / "runs" / "soak"
TARGETS = ("worker", "training", "server", "flow", "ray")
STATED_SECONDS = SILENCE_SECONDS + SLACK_SECONDS + LOOK_SECONDS + RETRY_SECONDS
"""After so long nobody may be Running of whom nothing is heard; a server that was killed has to come up besides."""
_PART = {"training": 1 / 4, "ray": 1 / 20}
"""Those whose life is a part of the run's are killed at an instant of that: about how much of it they live."""
_PATIENCE_SECONDS = 600.0
_START_SECONDS = 60.0
_LOOK_SECONDS = 0.2
_PARAMETERS = {
    "teacher": "mixture",
    "precompute": {"samples": 512, "shard_samples": 128},
    "train": {
        "samples": 6400,
        "student": {"width": 16, "blocks": 1},
        "rise_samples": 640,
        "checkpoint_every": 640,
    },
    "samples": 64,
}
_OVER_RAY = {"fan_out": "ray", "precompute": {"samples": 16384, "shard_samples": 1024}}
"""A cluster takes longer to start than the usual run to compute its shards: more of them."""


def main() -> None:
    options = _options()
    KEPT.mkdir(parents=True, exist_ok=True)
    if len(_kills()) < options.kills:
        with tempfile.TemporaryDirectory() as folder, _served(Path(folder)) as serve:
            usual = _usual_seconds(Path(folder))
            for attempt in range(3 * options.kills):
                number = len(_kills())
                if number >= options.kills:
                    break
                chosen = random.Random(f"{options.seed} {number} {attempt}")
                found = _kill_one(
                    serve,
                    Path(folder) / f"run-{number}-{attempt}",
                    options.targets[number % len(options.targets)],
                    usual,
                    chosen,
                )
                progress(f"{number + 1}/{options.kills}: {found}")
                if found is not None:
                    (KEPT / f"kill-{number:04d}.json").write_text(json.dumps(found, indent=1))
    if options.write:
        write_page([json.loads(path.read_text()) for path in _kills()], options.kills, STATED_SECONDS + _START_SECONDS)
    sys.exit(any(_faults(json.loads(path.read_text())) for path in _kills()))


def _kills() -> list[Path]:
    return sorted(KEPT.glob("kill-*.json"))


def _faults(found: dict[str, Any]) -> bool:
    return found["ended"] != "COMPLETED" or bool(found["damaged"]) or bool(found["still_running"])


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[psutil.Process]:
    """`make serve` with a home of its own, and this process as its client."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    more = {"PREFECT_HOME": str(folder / "home"), "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    said = folder / "said"
    with said.open("w") as sink:
        serve = subprocess.Popen(
            [sys.executable, "-m", "flows.serve", "--port", str(port)],
            cwd=ROOT,
            env={**kept, **more},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        while "serving" not in said.read_text():
            assert serve.poll() is None, said.read_text()
            time.sleep(_LOOK_SECONDS)
        with temporary_settings(updates={PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
            yield psutil.Process(serve.pid)
    finally:
        serve.send_signal(signal.SIGINT)
        serve.wait(_START_SECONDS)


def _usual_seconds(folder: Path) -> float:
    """How long a run lasts that nobody disturbs; found once."""
    kept = KEPT / "usual.json"
    if kept.exists():
        return float(json.loads(kept.read_text()))
    began = time.monotonic()
    run = _start(folder / "undisturbed", {})
    ended = _wait(run)
    assert ended == StateType.COMPLETED, ended
    seconds = time.monotonic() - began
    kept.write_text(json.dumps(seconds))
    return seconds


def _start(root: Path, more: dict[str, Any]) -> UUID:
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("distill/quick")
        parameters = {**_PARAMETERS, **more, "root": str(root)}
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id


def _state(run: UUID) -> StateType | None:
    """None while the server does not answer."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run).state
            return None if state is None else state.type
    except (httpx.HTTPError, OSError):
        return None


def _wait(run: UUID) -> StateType | None:
    """The end of a run; a crashed one has not ended: it is to be run again."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    state = _state(run)
    while state not in (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED) and time.monotonic() < deadline:
        time.sleep(1.0)
        state = _state(run)
    return state


def _kill_one(
    serve: psutil.Process, root: Path, target: str, usual: float, chosen: random.Random
) -> dict[str, Any] | None:
    """One run with one kill; None if there was nobody to kill."""
    run, began = _start(root, _OVER_RAY if target == "ray" else {}), time.monotonic()
    instant = began + chosen.uniform(0.0, usual)
    while time.monotonic() < instant or (
        not (victims := _victims(serve, target)) and _state(run) != StateType.COMPLETED
    ):
        if target in _PART and _victims(serve, target) and time.monotonic() < instant:
            instant = min(instant, time.monotonic() + chosen.uniform(0.0, _PART[target] * usual))
        time.sleep(_LOOK_SECONDS)
    before = _state(run)
    if not victims or before == StateType.COMPLETED:
        return None
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    killed = time.monotonic()
    ended = _wait(run)
    to_end = time.monotonic() - killed
    # What has ended stays so: there is nothing to wait for once nobody is left.
    while (left := _still_running()) and time.monotonic() < killed + STATED_SECONDS + _START_SECONDS:
        time.sleep(1.0)
    stores = [path.parent for path in root.glob("stores/**/manifest.json")]
    return {
        "target": target,
        "state": None if before is None else before.value,
        "killed_after": round(killed - began, 1),
        "usual": round(usual, 1),
        "ended": None if ended is None else ended.value,
        "to_end": round(to_end, 1),
        "states": _history(run),
        "damaged": [str(problem) for store in stores for problem in verify(str(store))] if stores else ["no store"],
        "still_running": left,
    }


def _victims(serve: psutil.Process, target: str) -> list[psutil.Process]:
    """The processes of a kind."""
    wanted = {
        "worker": ("prefect", "worker", "start"),
        "training": ("-m", "advkd", "train"),
        "server": ("prefect", "server", "start"),
        "flow": ("-m", "prefect.engine"),
        # So a worker calls itself while it is at a task.
        "ray": ("ray::compute_shard",),
    }[target]
    found = []
    for process in serve.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if all(word in words for word in wanted):
                found += [process, *(process.children(recursive=True) if target == "server" else [])]
    return found


def _history(run: UUID) -> list[str]:
    with get_client(sync_client=True) as client:
        return [state.name or state.type.value for state in client.read_flow_run_states(run)]


def _still_running() -> list[str]:
    """Runs that have not ended, although nothing is under way any more."""
    kinds = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.CRASHED]
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds)))
        )
        # A crashed part of a run is begun anew as another; a crashed run of a deployment is to be run again.
        return [
            f"{one.name} {one.state_name}" for one in runs if one.state_type != StateType.CRASHED or one.deployment_id
        ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many there shall be in all [%(default)s]")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS, help="whom, in turns [all]")
    parser.add_argument("--seed", type=int, default=0, help="of the instants [%(default)s]")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/faults.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
