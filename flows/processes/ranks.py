"""Runs one module in several processes of this machine through torch's launcher, which acts as a single child.

`torchrun` prints its own report and always exits with code 1. `flows.processes.child` needs the message of the process
that failed, and whether a signal ended it.
"""

import logging
import os
import signal
import sys
from typing import Annotated

from pydantic import Field

ProcessCount = Annotated[int, Field(ge=1)]
"""A flow's parameter: the number of processes that train one student."""


def launched(module: str, processes: int) -> list[str]:
    """Returns the arguments of `python -m` that run `module` in `processes` processes; the module's own follow."""
    return [module] if processes == 1 else ["flows.processes.ranks", str(processes), module]


def torchrun_arguments(processes: int, module: str, arguments: list[str]) -> list[str]:
    """Returns the arguments of `torchrun` for the same."""
    # --standalone takes a free port, so that any number of runs can share a machine.
    return ["--standalone", "--nproc-per-node", str(processes), "-m", module, *arguments]


def main() -> None:
    """Runs `python -m flows.processes.ranks PROCESSES MODULE ARGUMENTS...`."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    processes, module, *arguments = sys.argv[1:]
    # torchrun would set this too, but with a warning.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        torchrun.run(torchrun.parse_args(torchrun_arguments(int(processes), module, arguments)))
    except ChildFailedError as error:
        _end_like([failure.exitcode for failure in error.failures.values()])
    except SignalException as error:
        _end_like([-error.sigval])


def _end_like(codes: list[int]) -> None:
    """Ends this process as the first failed process ended: by the same signal, or with its exit code."""
    # The launcher ends the others by SIGTERM.
    first = [code for code in codes if code != -signal.SIGTERM] or codes
    killed = [-code for code in first if code < 0]
    if not killed:
        sys.exit(max(first))
    if killed[0] != signal.SIGKILL:
        signal.signal(killed[0], signal.SIG_DFL)
    os.kill(os.getpid(), killed[0])


if __name__ == "__main__":
    main()
