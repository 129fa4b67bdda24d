"""Who is at work on what: claims, so that two runs of the same do the work once, wherever they run.

A claim is a small object beside the work that its holder renews every `RENEW_SECONDS`. One that has not changed for
`SILENCE_SECONDS`, by the clock of whoever looks, or whose process on this machine is gone, counts for nothing and is
taken over. Claims save work and nothing relies on them: two holders of one shard write the same bytes (law 4), which
happens where a server without conditional writes is asked twice in one moment.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from storage.errors import StoreError, StoreNotFoundError
from storage.objects import create_bytes, delete, join, read_bytes, write_bytes
from storage.records import author

logger = logging.getLogger(__name__)

RENEW_SECONDS = 10.0
SILENCE_SECONDS = 45.0
_LOOK_SECONDS = 1.0
_SETTLE_SECONDS = 0.5
_SAY_SECONDS = 60.0
_FOLDER = "claims"
CLAIM_ENDING = ".claim"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a claim says of its holder."""

    token: str
    """Tells this claim from every other."""
    author: str
    """Who it is, `user@host` or what ADVKD_AUTHOR said."""
    machine: str
    """The machine, as long as it runs, and the numbering of its processes."""
    process: int
    """Number of the process."""
    born: str
    """When that process began, in the kernel's ticks: numbers of processes come again."""
    beat: int = 0
    """How often it has been renewed."""

    def to_bytes(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self)).encode()

    @property
    def holder(self) -> str:
        """Who holds it, for people."""
        return f"{self.author or 'another run'} (process {self.process})"

    def is_dead(self) -> bool:
        """Whether its process was of this machine and is gone."""
        return self.machine == _machine() and _born(self.process) != self.born


class Claims:
    """The claims that this process holds, renewed by one thread, and those that it has seen others hold."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # One renews or gives back at a time: a renewal that came after its claim was given back would end the next's.
        self._writing = threading.Lock()
        self._held: dict[str, Claim] = {}
        self._seen: dict[str, tuple[bytes, float]] = {}
        self._renewing: threading.Thread | None = None

    def take(self, uri: str) -> Claim | None:
        """Takes a claim; the claim of who holds it instead, None if it is ours now.

        Raises:
            StoreError: it can be neither read nor written.
        """
        mine = _own_claim()
        if not create_bytes(uri, mine.to_bytes()):
            data, other = self._look(uri)
            if other is not None:
                return other
            # Of several that find it void, each removes what it has judged and nothing newer, as far as that can be
            # told; whose claim is there after a moment has it.
            if _read(uri) == data:
                delete(uri)
            create_bytes(uri, mine.to_bytes())
            time.sleep(_SETTLE_SECONDS)
            if not _is_of(uri, mine):
                return self.holder(uri) or mine
        self._keep(uri, mine)
        return None

    def holder(self, uri: str) -> Claim | None:
        """Who holds a claim; None if nobody does that is alive."""
        return self._look(uri)[1]

    def holds(self, uri: str) -> bool:
        """Whether a claim of this process is its own still: one that stood still for long has lost it."""
        with self._lock:
            mine = self._held.get(uri)
        return mine is not None and _is_of(uri, mine)

    def _look(self, uri: str) -> tuple[bytes, Claim | None]:
        """What a claim says, and who holds it."""
        data = _read(uri)
        now = time.monotonic()
        with self._lock:
            before, since = self._seen.get(uri, (b"", now))
            since = since if before == data else now
            self._seen[uri] = (data, since)
        try:
            claim = Claim(**json.loads(data))
        except (ValueError, TypeError):
            return data, None
        return data, None if claim.is_dead() or now - since > SILENCE_SECONDS else claim

    def release(self, uri: str) -> None:
        """Gives a claim back, if it is ours still."""
        with self._writing:
            with self._lock:
                mine = self._held.pop(uri, None)
                self._seen.pop(uri, None)
            if mine is None:
                return
            try:
                if _is_of(uri, mine):
                    delete(uri)
            except StoreError as error:
                # It falls silent by itself.
                logger.debug("claim %s not given back: %s", uri, error)

    @contextmanager
    def turn(self, uri: str, say: Callable[[str], None], what: str) -> Iterator[None]:
        """Waits until the claim is ours, saying who is waited for, and holds it.

        Args:
            uri: of the claim.
            say: told at once and then every minute.
            what: is to be worked on, for people.
        """
        said = -_SAY_SECONDS
        while (other := self.take(uri)) is not None:
            if time.monotonic() - said >= _SAY_SECONDS:
                said = time.monotonic()
                say(
                    f"{other.holder} is at work on {what}: waiting; if it ends, or says nothing for "
                    f"{SILENCE_SECONDS:.0f} s, this run goes on from there"
                )
            time.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            self.release(uri)

    def _keep(self, uri: str, claim: Claim) -> None:
        with self._lock:
            self._held[uri] = claim
            if self._renewing is None or not self._renewing.is_alive():
                self._renewing = threading.Thread(target=self._renew, name="claims", daemon=True)
                self._renewing.start()

    def _renew(self) -> None:
        while True:
            time.sleep(RENEW_SECONDS)
            with self._lock:
                if not self._held:
                    self._renewing = None
                    return
                held = list(self._held)
            for uri in held:
                try:
                    self._renew_one(uri)
                except StoreError as error:
                    logger.warning("the claim %s could not be renewed (%s); another run may do the same", uri, error)

    def _renew_one(self, uri: str) -> None:
        with self._writing:
            with self._lock:
                if uri not in self._held:
                    return
                self._held[uri] = claim = replace(self._held[uri], beat=self._held[uri].beat + 1)
            if _is_of(uri, claim):
                write_bytes(uri, claim.to_bytes())
                return
            # This process stood still for so long that another one took over.
            logger.warning("the claim %s was taken over by another run", uri)
            with self._lock:
                self._held.pop(uri, None)


CLAIMS = Claims()
"""Those of this process."""


def claim_uri(uri: str, shard: int) -> str:
    """Where the claim of a shard of a store lives."""
    return join(uri, _FOLDER, f"{shard:06d}.json")


def folder_claim(folder: str) -> str:
    """Where the claim of a folder lives: beside it, since folders are replaced as a whole."""
    return f"{folder.rstrip('/')}{CLAIM_ENDING}"


def _read(uri: str) -> bytes:
    """What is there; nothing if nothing is."""
    try:
        return read_bytes(uri)
    except StoreNotFoundError:
        return b""


def _is_of(uri: str, claim: Claim) -> bool:
    try:
        found = json.loads(_read(uri))
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("token") == claim.token


def _own_claim() -> Claim:
    return Claim(
        token=secrets.token_hex(8),
        author=author(),
        machine=_machine(),
        process=os.getpid(),
        born=_born(os.getpid()),
    )


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        numbering = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        # Nothing is known of this machine's processes: silence alone tells.
        return ""
    return f"{socket.gethostname()} {boot} {numbering}"


def _born(process: int) -> str:
    """When a process began; empty if there is none, or its parent has yet to be told of its end."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]
