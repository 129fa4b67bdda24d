"""How tests call the command line: in this process, or as one of its own, and what a refusal looks like."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

TINY = ["--samples", "32", "--steps", "4", "--captures", "2", "--shard-samples", "16", "--block-samples", "8"]


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def uri(self) -> str:
        """The last line of stdout."""
        return self.out.splitlines()[-1]


Cli = Callable[..., Result]


def run(*arguments: object, **environment: str) -> Result:
    """Runs `python -m advkd ARGS` as a process, which imports everything anew: seconds."""
    command = [sys.executable, "-m", "advkd", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, env={**os.environ, **environment}
    )
    return Result(done.returncode, done.stdout, done.stderr)


def assert_refused(result: Result, *parts: str) -> None:
    """One line of ours on stderr with all the parts, no traceback, a failing exit code, and no URI promised."""
    assert result.code == 1, result
    assert "Traceback" not in result.err
    lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.err
    assert result.err.splitlines()[-1] == lines[0]
    for part in parts:
        assert part in lines[0], (part, lines[0])
    assert result.out == ""
