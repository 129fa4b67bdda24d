"""`make bench-operated`: memory of what stays up while it idles and works, minute by minute.

`make serve` on PostgreSQL, `advkd browse` and a Chromium that shows a gallery are started. Working and idle phases of
equal length take turns. At work, tiny distillations of `mixture` follow each other a minute apart, and browse is asked
for a page and for a sheet of random samples, again a fifth of a second after each answer. The processes of runs are not
counted: they end with them.

Each minute is a line of `docs/benchmarks/operated_memory.jsonl`. A later call adds a
sitting, with processes of its own.
"""

import argparse
import contextlib
import contextvars
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

from benchmarks.measure import DOCS, ROOT, progress
from benchmarks.operated_memory_page import write_page
from benchmarks.peak_memory import tree_memory
from benchmarks.soak_services import SMALL_MIXTURE, served, services, start_run
from flows.processes.fork_server import FORK_SERVER_NAME
from flows.processes.server import free_port
from storage import digest, list_stores
from tests.advkd.browse.served import ARGUMENTS, chromium

KEPT = DOCS / "benchmarks" / "operated_memory.jsonl"
SECONDS = 60.0
"""Between two lines."""
_PAUSE_SECONDS = 60.0
_PATIENCE_SECONDS = 600.0
_ENDS = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED)
_COMMANDS = {
    "server": ("prefect", "server", "start"),
    "worker": ("-m", "flows.worker"),
    "upkeep": ("-m", "flows.upkeep"),
}


def main() -> None:
    options = _options()
    if options.hours > 0:
        with (
            tempfile.TemporaryDirectory() as folder,
            services(Path(folder)) as below,
            served(Path(folder), below) as serve,
        ):
            _sit(Path(folder), serve, options.hours * 3600.0, options.phase * 60.0)
    if options.write:
        write_page([json.loads(line) for line in KEPT.read_text().splitlines()])


def _sit(folder: Path, serve: psutil.Process, seconds: float, phase: float) -> None:
    """One sitting: a line each minute; what fails ends it."""
    sitting, working, over = datetime.now(UTC).isoformat(timespec="minutes"), threading.Event(), threading.Event()
    runs: list[str] = []
    answers: list[int] = []
    _distil(str(folder / "runs" / "first"), runs)
    with (
        _browsed(folder) as (browse, address),
        _shown(folder, address) as page,
        ThreadPoolExecutor() as pool,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(over.set)
        threads = [
            # A thread of its own does not know which server this context has.
            pool.submit(contextvars.copy_context().run, _go_on, step, working, over)
            for step in (lambda: _work(folder, runs, over), lambda: answers.append(_look(folder, address)))
        ]
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            for thread in threads:
                if thread.done():
                    thread.result()
            at_work = int(now // phase) % 2 == 0
            (working.set if at_work else working.clear)()
            line = {
                "sitting": sitting,
                "minute": round(now / 60.0, 1),
                "phase": "works" if at_work else "idles",
                "runs": len(runs),
                "answers": sum(answers),
                "megabytes": _megabytes(serve, browse, page),
            }
            with KEPT.open("a") as kept:
                kept.write(json.dumps(line) + "\n")
            progress(f"{now / 60.0:.0f}/{seconds / 60.0:.0f} min: {line['megabytes']}")
            time.sleep(SECONDS)
    progress(f"{len(runs)} runs: {sorted(set(runs))}")


def _go_on(step: Any, working: threading.Event, over: threading.Event) -> None:
    while not over.is_set():
        if working.wait(1.0):
            step()


def _work(folder: Path, runs: list[str], over: threading.Event) -> None:
    _distil(str(folder / "runs" / str(len(runs))), runs)
    over.wait(_PAUSE_SECONDS)


def _distil(root: str, runs: list[str]) -> None:
    """Runs one distillation to its end."""
    run = start_run(root, "mixture", SMALL_MIXTURE)
    with get_client(sync_client=True) as client:
        limit = time.monotonic() + _PATIENCE_SECONDS
        while (state := client.read_flow_run(run).state) is None or state.type not in _ENDS:
            if time.monotonic() > limit:
                break
            time.sleep(1.0)
    runs.append("no end" if state is None else state.type.value)


def _look(folder: Path, address: str) -> int:
    """Asks for what a viewer's page asks for, and rests for a fifth of a second; returns the number of answers."""
    name = _first_store(folder)
    paths = (f"/s/{name}/gallery", f"/api/sheet/{name}?samples={_samples()}&t=0")
    for path in paths:
        httpx.get(address + path, timeout=60).raise_for_status()
    time.sleep(0.2)
    return len(paths)


def _samples() -> str:
    return ",".join(str(random.randrange(512)) for _ in range(32))


def _first_store(folder: Path) -> str:
    (store,) = list_stores(str(folder / "runs" / "first"))
    assert store.spec is not None
    return digest(store.spec)[:16]


@contextlib.contextmanager
def _browsed(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """`advkd browse` over the first run."""
    command = [sys.executable, "-m", "advkd", "browse", str(folder / "runs" / "first"), "--port", str(free_port())]
    browse = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert browse.stdout is not None
    try:
        for line in browse.stdout:
            if found := re.search(r"http://[\d.]+:\d+", line):
                threading.Thread(target=browse.stdout.read, daemon=True).start()
                yield psutil.Process(browse.pid), found[0]
                break
    finally:
        browse.terminate()
        browse.wait()


@contextlib.contextmanager
def _shown(folder: Path, address: str) -> Iterator[psutil.Process]:
    """A browser with a gallery that nobody touches."""
    own = f"--user-data-dir={folder / 'chromium'}"
    command = [chromium(), "--headless", *ARGUMENTS, own, "--remote-debugging-port=0"]
    shown = subprocess.Popen(
        [*command, f"{address}/s/{_first_store(folder)}/gallery"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(shown.pid)
    finally:
        shown.terminate()
        shown.wait()


def _megabytes(serve: psutil.Process, browse: psutil.Process, page: psutil.Process) -> dict[str, int]:
    """Proportional set sizes by kind."""
    found = dict.fromkeys([*_COMMANDS, "fork server"], 0)
    for process in serve.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if process.name() == FORK_SERVER_NAME:
                found["fork server"] += process.memory_full_info().pss
            elif process.name() == "prefect.engine" or "PREFECT__FLOW_RUN_ID" in process.environ():
                continue
            else:
                for kind, command in _COMMANDS.items():
                    if all(word in words for word in command):
                        found[kind] += process.memory_full_info().pss
    found["serve"] = serve.memory_full_info().pss
    found["browse"] = tree_memory(browse)
    found["Chromium"] = tree_memory(page)
    found["benchmark"] = psutil.Process(os.getpid()).memory_full_info().pss
    return {kind: round(size / 1e6) for kind, size in found.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=6.0, help="length of this sitting; 0: none [%(default)s]")
    parser.add_argument("--phase", type=float, default=20.0, help="minutes of a phase [%(default)s]")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/operated_memory.md and its picture")
    return parser.parse_args()


if __name__ == "__main__":
    main()
