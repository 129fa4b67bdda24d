"""A call in an interpreter of its own: its own memory, its own cores, nothing imported but what it needs.

JSON goes in and comes out; whatever the call prints goes to stderr.
"""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def call(
    function: Callable[..., Any],
    *arguments: Any,
    cores: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """What a module's function returns for arguments that are plain JSON.

    Args:
        function: found again by its module and name.
        arguments: for it.
        cores: how many CPU cores the process may use, all of them if None.
        environment: variables that are set besides those of this process.
    """
    task = {"module": function.__module__, "name": function.__name__, "arguments": arguments, "cores": cores}
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.cache_process", json.dumps(task)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **(environment or {})},
    )
    return json.loads(ended.stdout)


def peak_bytes() -> int:
    """The most memory that this process ever had resident.

    From `/proc`: the figure of `getrusage` starts with that of the process which started this one.
    """
    found = _PEAK.search(Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found.group(1)) * 1024


def _main() -> None:
    task = json.loads(sys.argv[1])
    if task["cores"] is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-task["cores"] :])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        function = getattr(importlib.import_module(task["module"]), task["name"])
        json.dump(function(*task["arguments"]), answer)


if __name__ == "__main__":
    _main()
