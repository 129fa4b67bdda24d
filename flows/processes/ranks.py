"""One module in several processes of this machine, by torch's own launcher: what `torchrun` starts, told as one child.

`torchrun` itself ends with a report of its own and always with exit code 1; `flows.processes.child` wants the last
word of the process that failed, and to know whether a signal ended it.
"""

import logging
import os
import signal
import sys
from typing import Annotated

from pydantic import Field

ProcessCount = Annotated[int, Field(ge=1)]
"""How many processes train one student, as a flow's parameter."""


def launched(module: str, processes: int) -> list[str]:
    """What follows `python -m` to run `module` in so many processes; their arguments come after it."""
    return [module] if processes == 1 else ["flows.processes.ranks", str(processes), module]


def torchrun_arguments(processes: int, module: str, arguments: list[str]) -> list[str]:
    """The same as a command line of `torchrun`."""
    # A port of its own for each: any number of runs share a machine.
    return ["--standalone", "--nproc-per-node", str(processes), "-m", module, *arguments]


def main() -> None:
    """`python -m flows.processes.ranks PROCESSES MODULE ARGUMENTS...`."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    processes, module, *arguments = sys.argv[1:]
    # What torchrun sets anyway, and says so.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        torchrun.run(torchrun.parse_args(torchrun_arguments(int(processes), module, arguments)))
    except ChildFailedError as error:
        _end_like([failure.exitcode for failure in error.failures.values()])
    except SignalException as error:
        _end_like([-error.sigval])


def _end_like(codes: list[int]) -> None:
    """Ends this process as the first to end did: by the signal that killed it, or with its exit code."""
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
