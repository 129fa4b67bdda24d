"""Runs writers whose every write waits for its turn: any interleaving, stopped after any object, is reproducible."""

import threading
from collections.abc import Callable, Sequence


class _Killed(BaseException):
    """Ends a writer between two writes, as a kill would."""


class Turns:
    """Runs programs one write at a time. Pass `write` to `oracles.watch_writes`; without `run` it just writes."""

    def __init__(self) -> None:
        self._writers: dict[int, _Writer] = {}
        self._written: list[str] = []

    def write(self, address: str, write: Callable[[], None]) -> None:
        """Waits for this writer's turn, then writes."""
        writer = self._writers.get(threading.get_ident())
        if writer is None:
            write()
            return
        writer.pause()
        write()
        self._written.append(address)

    def run(self, programs: Sequence[Callable[[], object]], schedule: Sequence[int]) -> list[str]:
        """Lets program `n` write its next object for each `n` in the schedule, then kills all; returns the writes.

        The turn of a program that has ended is skipped.
        """
        self._written = []
        writers = [_Writer(self._writers, program) for program in programs]
        for writer in writers:
            writer.start()
        for number in schedule:
            writers[number].turn()
        for writer in writers:
            writer.kill()
        for writer in writers:
            if writer.failure is not None:
                raise writer.failure
        return self._written


class _Writer(threading.Thread):
    def __init__(self, table: "dict[int, _Writer]", program: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.failure: BaseException | None = None
        self._table, self._program = table, program
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = self._ended = False

    def start(self) -> None:
        """Runs the program up to its first write."""
        super().start()
        self._stopped.acquire()

    def turn(self) -> None:
        """Lets the program write once, and run to its next write or its end."""
        if not self._ended:
            self._go.release()
            self._stopped.acquire()

    def kill(self) -> None:
        self._killed = True
        self._go.release()
        self.join()

    def pause(self) -> None:
        """Waits for a turn, in the writer's own thread."""
        self._stopped.release()
        self._go.acquire()
        if self._killed:
            raise _Killed

    def run(self) -> None:
        self._table[threading.get_ident()] = self
        try:
            self._program()
        except _Killed:
            pass
        except BaseException as error:
            self.failure = error
        finally:
            del self._table[threading.get_ident()]
            self._ended = True
            self._stopped.release()
