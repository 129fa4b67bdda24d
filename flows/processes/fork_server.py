"""A process that has imported everything, and forks the process of each flow run, which then starts in a second.

`flows.serving.worker` starts it beside a worker. The command of a run, `python -m flows.engine`, connects to its socket
and sends folder, environment, stdout and stderr. It is told the process id, and the exit code at the end. A run whose
command is killed is killed too.

The server has one thread and computes nothing (`forking`), and ends with its parent. When a file has changed from which
it has loaded a module, it forks no more: commands start interpreters until the last run has ended and the server has
started itself again. The socket lies in a folder that only its user can enter.
"""

import gc
import os
import selectors
import signal
import site
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from advkd.runtime import die_with_parent, receive, send
from flows.processes.forking import Order, can_fork, leave_parent, name_process

FORK_SERVER_NAME = "advkd forks"
"""Name of its process; that of a forked run is `prefect.engine`."""
_SECONDS = 5.0
_FILES = 2
Stamp = tuple[int, int]


class ForkedError(Exception):
    """Not an error: unwinds the server's stack in a forked child, which carries out its order at the top."""

    def __init__(self, order: Order) -> None:
        super().__init__("this process is a forked child")
        self.order = order


def loaded_files() -> dict[str, Stamp]:
    """Returns size and time of every file that a module was loaded from, and of the folders of installed packages."""
    names = {
        file for module in list(sys.modules.values()) if isinstance(file := getattr(module, "__file__", None), str)
    }
    return {name: stamp for name in {*names, *site.getsitepackages()} if (stamp := _stamp(name)) is not None}


def _stamp(name: str) -> Stamp | None:
    try:
        status = Path(name).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


@dataclass
class ForkServer:
    """The loop of the server.

    Attributes:
        path: of the socket.
        loaded: files of the modules that it has imported. When one has changed, it forks no more.
        stale: whether one has changed.
    """

    path: str
    loaded: dict[str, Stamp]
    stale: bool = field(default=False, init=False)
    _runs: dict[int, tuple[int, socket.socket]] = field(default_factory=dict, init=False)
    _looked: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector, init=False)

    def serve(self) -> None:
        """Forks until the code has changed and the last run has ended.

        Raises:
            ForkedError: in each child.
        """
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.path)
            listening.listen()
            self._look_at(listening, lambda: self._accept(listening))
            while self._runs or not self.stale:
                for key, _ in self._looked.select():
                    key.data()
            Path(self.path).unlink()

    def _look_at(self, file: socket.socket | int, act: Callable[[], None]) -> None:
        self._looked.register(file, selectors.EVENT_READ, act)

    def _accept(self, listening: socket.socket) -> None:
        asking, _ = listening.accept()
        files: list[int] = []
        try:
            asking.settimeout(_SECONDS)
            said, files = receive(asking)
            order = Order(**said)
            if len(files) != _FILES:
                raise ValueError(f"an order must come with stdout and stderr, got {len(files)} files")
            if self._has_changed():
                send(asking, {"refused": "its code has changed since it was loaded"})
            elif not can_fork():
                send(asking, {"refused": "it has several threads"})
            else:
                self._fork(asking, order, files)
                return
        except (OSError, ValueError, TypeError):
            # Who asks has gone, or is no command of ours: it starts an interpreter, or nothing.
            pass
        finally:
            for file in files:
                os.close(file)
        asking.close()

    def _has_changed(self) -> bool:
        self.stale = self.stale or any(_stamp(name) != stamp for name, stamp in self.loaded.items())
        return self.stale

    def _fork(self, asking: socket.socket, order: Order, files: list[int]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _leave(parent, files)
            raise ForkedError(order)
        try:
            ended = os.pidfd_open(pid)
        except OSError:
            # Nobody would hear of its end, and the command starts the run itself.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._runs[pid] = (ended, asking)
        self._look_at(ended, lambda: self._tell_end(pid))
        # A command says nothing more: to read of it is to see it go.
        self._look_at(asking, lambda: self._kill(pid))
        with suppress(OSError):
            send(asking, {"pid": pid})

    def _kill(self, pid: int) -> None:
        """Kills a run whose command has gone, unless it has ended in the same moment."""
        if pid not in self._runs:
            return
        self._looked.unregister(self._runs[pid][1])
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    def _tell_end(self, pid: int) -> None:
        ended, asking = self._runs.pop(pid)
        _, status = os.waitpid(pid, 0)
        self._looked.unregister(ended)
        os.close(ended)
        with suppress(KeyError):
            self._looked.unregister(asking)
        with suppress(OSError):
            send(asking, {"code": os.waitstatus_to_exitcode(status)})
        asking.close()


def _leave(parent: int, files: list[int]) -> None:
    """Makes a forked child its own, or ends it: whatever fails, it must not go on as a second server."""
    left = False
    try:
        left = leave_parent(parent, *files)
    finally:
        if not left:
            os._exit(1)


def run_fork_server(path: str) -> Order:
    """Runs the server; returns in a child, with its order. Of stale code it makes a new server, by a new interpreter.

    Args:
        path: of the socket, in a folder of this user alone, which goes with the server.
    """
    if (end_with_parent := die_with_parent()) is not None:
        end_with_parent()
    # Ctrl-C in a terminal reaches the worker too, which ends its runs in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    name_process(FORK_SERVER_NAME)
    own = os.getpid()

    def end(*_: object) -> None:
        # A killed worker has removed nothing. Runs end with this process.
        if os.getpid() == own:
            with suppress(OSError):
                Path(path).unlink(missing_ok=True)
                Path(path).parent.rmdir()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    loaded = loaded_files()
    gc.collect()
    gc.freeze()
    if not can_fork():
        sys.exit("a fork server must have one thread, but an imported module has started another")
    # Linux before 5.3 has none.
    os.close(os.pidfd_open(own))
    Path(path).unlink(missing_ok=True)
    try:
        ForkServer(path, loaded).serve()
    except ForkedError as forked:
        return forked.order
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
