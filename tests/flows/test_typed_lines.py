"""From nothing to a student by the lines of docs/operations.md as they stand there, each in its terminal."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass

import pytest

from flows.processes.server import free_port
from tests.flows.machine import CHECKOUT
from tests.flows.processes.test_child import wait_until
from tests.reaper import die_with_parent

SMALL = [
    'precompute={"samples": 128, "shard_samples": 128, "solver": {"steps": 4}, "captures": 2}',
    'train={"samples": 512, "student": {"width": 16, "blocks": 1}, "rise_samples": 64}',
    "samples=64",
]
"""Besides what is typed, since nobody waits half an hour for a test."""


@dataclass(frozen=True)
class Line:
    """What is typed, and the remark behind it."""

    typed: str
    remark: str


def lines_below(page, heading):
    """Those of the first shell block below a heading."""
    text = (CHECKOUT / page).read_text()
    block = text.split(f"\n## {heading}\n", 1)[1].split("```bash\n", 1)[1].split("```", 1)[0]
    split = (re.split(r"\s+# ", line, maxsplit=1) for line in block.splitlines() if line)
    return [Line(typed, remark[0] if remark else "") for typed, *remark in split]


class Terminals:
    """Shells of one user, in the folder of the clone."""

    def __init__(self, environment, folder, first):
        self._environment, self._folder, self._first = environment, folder, first
        self.open = []

    def _shell(self, typed, sink):
        return subprocess.Popen(
            ["bash", "-ec", "\n".join([*self._first, typed])],
            cwd=CHECKOUT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def leave_open(self, typed):
        with (self._folder / f"terminal-{len(self.open)}").open("w") as sink:
            self.open.append(self._shell(typed, sink))

    def run(self, typed, seconds=600):
        said = self._folder / "said"
        with said.open("w") as sink:
            shell = self._shell(typed, sink)
            try:
                return shell.wait(seconds), said.read_text()
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)

    def ctrl_c(self):
        """In all of them, the last one first; whether each ended by that."""
        ended = []
        for shell in reversed(self.open):
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                shell.wait(60)
            ended.append(shell.poll() is not None)
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        return ended


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_line_works_as_typed(tmp_path):
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = kept | {
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "COLUMNS": "200",
        # A machine with GPUs would miss their workers.
        "CUDA_VISIBLE_DEVICES": "",
        # Of make: where the packages of these tests are.
        "VENV": sys.prefix,
    }
    # Another server may have the port of the page, and the tests' packages may lie elsewhere.
    lines = [
        Line(line.typed.replace(":4200", f":{port}").replace(".venv", sys.prefix), line.remark)
        for line in lines_below("docs/operations.md", "Piece by piece")
    ]
    everywhere = [line.typed for line in lines if "each terminal" in line.remark]
    terminals = Terminals(environment, tmp_path, everywhere)
    try:
        for line in lines[len(everywhere) :]:
            if "terminal" in line.remark:
                terminals.leave_open(line.typed)
                if "server start" in line.typed:
                    assert wait_until(lambda: answers(port), 240), (tmp_path / "terminal-0").read_text()
                continue
            small = " ".join(f"--param '{one}'" for one in [*SMALL, f"root={tmp_path / 'runs'}"])
            watched = line.typed.startswith("prefect deployment run")
            code, said = terminals.run(f"{line.typed} {small}" if watched else line.typed)
            assert code == 0, f"{line.typed}: {said}"
        summary = json.loads((tmp_path / "runs" / "summary.json").read_text())
        assert summary["trained"]
        assert (tmp_path / "runs" / summary["artifact"] / "model_index.json").is_file()
    finally:
        ended = terminals.ctrl_c()
    assert ended == [True] * 3
    assert wait_until(lambda: not answers(port))


def answers(port):
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2):
        return True
    time.sleep(0.2)
    return False
