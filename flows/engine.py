"""`python -m flows.engine`: the command of a flow run, which a worker starts (`flows.serving.worker`).

The fork server that ADVKD_FORK_SERVER names forks the run's process. This command passes SIGTERM on to it, and ends as
it ends. Where no server answers, it becomes `python -m prefect.engine`, which imports everything itself. It imports
little, so that it starts at once.
"""

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from advkd.runtime import die_with_parent, receive, send

FORK_SERVER = "ADVKD_FORK_SERVER"
"""Environment variable: the path of the fork server's socket."""
_MODULE = "prefect.engine"
_ANSWER_SECONDS = 20.0
_LOST = 1
"""Exit code where the server was killed, and the run with it."""


def start_run(path: str, environment: dict[str, str]) -> tuple[int, socket.socket] | None:
    """Has a run forked; returns its process id and the connection that tells its end, or None if no server forks it.

    Args:
        path: of the server's socket.
        environment: of the run.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_ANSWER_SECONDS)
    why = "it does not answer"
    try:
        connection.connect(path)
        send(connection, {"module": _MODULE, "folder": str(Path.cwd()), "environment": environment}, (1, 2))
        answer, _ = receive(connection)
        if "pid" in answer:
            connection.settimeout(None)
            _say(f"forked: process {answer['pid']}")
            return int(answer["pid"]), connection
        why = str(answer.get("refused", why))
    except (OSError, ValueError) as error:
        why = f"{why} ({error})"
    connection.close()
    _say(f"the fork server starts no run: {why}; an interpreter is started instead")
    return None


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def follow_run(pid: int, connection: socket.socket) -> int:
    """Waits for the end of a run and returns its exit code, the negative number of a signal if one has killed it."""

    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    signal.signal(signal.SIGTERM, pass_on)
    # Ctrl-C in a terminal reaches the worker, which ends its runs in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with connection:
        try:
            told, _ = receive(connection)
            return int(told["code"])
        except (OSError, ValueError, KeyError):
            return _LOST


def main() -> NoReturn:
    """Runs the command."""
    environment = dict(os.environ)
    path = environment.pop(FORK_SERVER, None)
    if (end_with_parent := die_with_parent()) is not None:
        end_with_parent()
    if path is not None and (run := start_run(path, environment)) is not None:
        code = follow_run(*run)
        if code < 0:
            # SIGKILL has no handler.
            with suppress(OSError):
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        sys.exit(code)
    os.execve(sys.executable, [sys.executable, "-m", _MODULE], environment)


if __name__ == "__main__":
    main()
