"""`make soak`: tiny distillations below `make serve`, of which something is killed at a random instant.

SIGKILL hits the worker, the flow's process, the process that forked it, the training process, the server with all of
its processes, or a worker of the Ray cluster that computes the shards of its run, in turns. Two further targets take
away what runs stand on: PostgreSQL, in which the server keeps its state, and the S3 server in which a run keeps all
that it makes. Each kill is a line of `docs/benchmarks/faults.jsonl`, so that the next call goes on with the next one,
on another day too: `--kills` is how many there shall be in all. A kill that finds nobody, since the run has ended, is
not counted, nor is one whose fault has been mended: its line gets a `mended` that says how. After one round of all
targets, the teacher changes.
"""

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

from benchmarks.measure import DOCS, ROOT, progress
from benchmarks.soak_page import overdue, write_page
from benchmarks.soak_services import SMALL, SMALL_MIXTURE, START_SECONDS, Services, served, services, start_run
from flows.processes.fork_server import FORK_SERVER_NAME
from flows.processes.process_tree import marked_processes
from flows.serving.automations import RETRY_SECONDS, SILENCE_SECONDS
from flows.serving.upkeep import LOOK_SECONDS, PENDING_SECONDS, SLACK_SECONDS
from storage import list_stores, verify

KEPT = DOCS / "benchmarks" / "faults.jsonl"
TARGETS = ("worker", "training", "server", "flow", "forks", "ray", "postgres", "s3")
_SERVICES = ("postgres", "s3")
STATED_SECONDS = {
    "Running": SILENCE_SECONDS + SLACK_SECONDS + LOOK_SECONDS + START_SECONDS,
    "Pending": PENDING_SECONDS + SLACK_SECONDS + LOOK_SECONDS + START_SECONDS,
    "Crashed": RETRY_SECONDS + SLACK_SECONDS + LOOK_SECONDS + START_SECONDS,
}
"""How long a run may be in a state at most while there is no process of it."""
_PART = {"training": 1 / 5, "ray": 1 / 20}
"""Those whose life is a part of the run's are killed at an instant of that: how much of it they live, about."""
_PATIENCE_SECONDS = 600.0
_LOOK_SECONDS = 0.2
_ENDS = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED)
_RUNS: dict[str, dict[str, Any]] = {
    "mixture": SMALL_MIXTURE,
    # Colour, classes and guidance; its evaluation's curve would take ten times as long as all the rest.
    "emoji#guidance=2": {
        **SMALL,
        "samples": 16,
        "precompute": {"samples": 64, "shard_samples": 16, "block_samples": 16},
        "features": "none",
    },
}
"""What is distilled, by teacher."""
_OVER_RAY = {
    "mixture": {"fan_out": "ray", "precompute": {"samples": 16384, "shard_samples": 1024}},
    "emoji#guidance=2": {"fan_out": "ray", "precompute": {"samples": 128, "shard_samples": 8, "block_samples": 8}},
}
"""A cluster takes longer to start than the usual run to compute its shards: more of them."""


def main() -> None:
    options = _options()
    if _counted() < options.kills:
        with (
            tempfile.TemporaryDirectory() as folder,
            services(Path(folder)) as below,
            served(Path(folder), below) as serve,
        ):
            usual = {teacher: _usual_seconds(Path(folder), teacher) for teacher in _RUNS}
            for attempt in range(3 * options.kills):
                number = _counted()
                if number >= options.kills:
                    break
                chosen = random.Random(f"{options.seed} {number} {attempt}")
                teacher, target = _turn(number, options.targets)
                found = _kill_one(
                    serve,
                    below,
                    f"{below.s3.make_bucket()}/run" if target == "s3" else f"{folder}/run-{number}-{attempt}",
                    teacher,
                    target,
                    usual[teacher],
                    chosen,
                )
                progress(f"{number + 1}/{options.kills}: {found}")
                if found is not None:
                    with KEPT.open("a") as kept:
                        kept.write(json.dumps(found) + "\n")
    if options.write:
        write_page(_kills(), STATED_SECONDS)
    sys.exit(any(_faults(found) for found in _kills() if "mended" not in found))


def _kills() -> list[dict[str, Any]]:
    return [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.exists() else []


def _counted() -> int:
    return sum("mended" not in found for found in _kills())


def _code() -> str:
    """The commit of the code, "-dirty" if it was changed; records of kills are no change of it."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "advkd", "flows", "storage"], check=False)
    return commit.stdout.strip() + "-dirty" * bool(changed.returncode)


def _turn(number: int, targets: Sequence[str]) -> tuple[str, str]:
    """The teacher and the target of a kill."""
    turn = number // len(targets)
    return list(_RUNS)[turn % len(_RUNS)], targets[number % len(targets)]


def _faults(found: dict[str, Any]) -> bool:
    return found["ended"] != "COMPLETED" or bool(found["damaged"]) or bool(overdue(found["alone"], STATED_SECONDS))


def _usual_seconds(folder: Path, teacher: str) -> float:
    """How long a run lasts that nobody disturbs."""
    began = time.monotonic()
    run = _start(str(folder / f"undisturbed-{teacher}"), teacher, {})
    ended, _ = _wait(run)
    assert ended == StateType.COMPLETED, ended
    return time.monotonic() - began


def _start(root: str, teacher: str, more: dict[str, Any]) -> UUID:
    return start_run(root, teacher, {**_RUNS[teacher], **more})


def _state(run: UUID) -> StateType | None:
    """None while the server does not answer."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run).state
            return None if state is None else state.type
    except (httpx.HTTPError, OSError):
        return None


def _wait(run: UUID) -> tuple[StateType | None, dict[str, float]]:
    """The end of a run, and by state the longest time in which it had no process; a crashed run has not ended."""
    began = time.monotonic()
    since: tuple[str, float] | None = None
    longest = dict.fromkeys(STATED_SECONDS, 0.0)
    while (state := _state(run)) not in _ENDS and time.monotonic() < began + _PATIENCE_SECONDS:
        now = time.monotonic()
        # While the server is away the state is what it was.
        name = state.value.capitalize() if state is not None else since[0] if since else None
        if name in longest and not marked_processes(f"PREFECT__FLOW_RUN_ID={run}"):
            since = since if since and since[0] == name else (name, now)
            longest[name] = max(longest[name], now - since[1])
        else:
            since = None
        time.sleep(1.0)
    return state, longest


def _kill_one(
    serve: psutil.Process, below: Services, root: str, teacher: str, target: str, usual: float, chosen: random.Random
) -> dict[str, Any] | None:
    """One run with one kill; None if there was nobody to kill."""
    run, began = _start(root, teacher, _OVER_RAY[teacher] if target == "ray" else {}), time.monotonic()
    said = {"code": _code(), "teacher": teacher, "target": target}
    if target in _SERVICES:
        return _take_away(below, root, target, run, began + chosen.uniform(0.0, usual), said)
    if target in _PART:
        while not _victims(serve, target) and _state(run) not in _ENDS:
            time.sleep(_LOOK_SECONDS)
        began_part, length = time.monotonic(), _PART[target] * usual
    else:
        began_part, length = began, usual
    instant = began_part + chosen.uniform(0.0, length)
    while time.monotonic() < instant or (not (victims := _victims(serve, target)) and _state(run) not in _ENDS):
        time.sleep(_LOOK_SECONDS)
    before = _state(run)
    if not victims or before in _ENDS:
        return None
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    return _report(said, root, run, before, began)


def _take_away(
    below: Services, root: str, target: str, run: UUID, instant: float, said: dict[str, Any]
) -> dict[str, Any] | None:
    """Takes a service away at an instant; None if the run has ended before."""
    began = time.monotonic()
    while time.monotonic() < instant and _state(run) not in _ENDS:
        time.sleep(_LOOK_SECONDS)
    if (before := _state(run)) in _ENDS:
        return None
    below.take_away(target)
    return _report(said, root, run, before, began)


def _report(said: dict[str, Any], root: str, run: UUID, before: StateType | None, began: float) -> dict[str, Any]:
    """Waits for the end of a run and looks at what it has left, and says it after what is said already."""
    killed = time.monotonic()
    ended, alone = _wait(run)
    stores = [store.uri for store in list_stores(root) if store.state == "sealed"]
    return {
        **said,
        "state": None if before is None else before.value,
        "killed_after": round(killed - began, 1),
        "ended": None if ended is None else ended.value,
        "to_end": round(time.monotonic() - killed, 1),
        "states": _history(run),
        "damaged": [str(problem) for store in stores for problem in verify(store)] if stores else ["no store"],
        "alone": {name: round(seconds) for name, seconds in alone.items()},
    }


def _victims(serve: psutil.Process, target: str) -> list[psutil.Process]:
    """The processes of a kind. What is forked has its parent's command line, and a name of its own."""
    command = {
        "worker": ("-m", "flows.worker"),
        "server": ("prefect", "server", "start"),
        # So a worker calls itself while it is at a task.
        "ray": ("ray::compute_shard",),
    }
    name = {"training": "advkd train", "flow": "prefect.engine", "forks": FORK_SERVER_NAME}
    found = []
    for process in serve.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if process.name() == name.get(target) or all(word in words for word in command.get(target, (None,))):
                found += [process, *(process.children(recursive=True) if target == "server" else [])]
    return found


def _history(run: UUID) -> list[str]:
    with get_client(sync_client=True) as client:
        return [state.name or state.type.value for state in client.read_flow_run_states(run)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many there shall be in all [%(default)s]")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS, help="whom, in turns [all]")
    parser.add_argument("--seed", type=int, default=0, help="of the instants [%(default)s]")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/faults.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
