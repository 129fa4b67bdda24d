"""Claims: they let two runs of the same spec share the work, wherever they run.

A claim is a small object beside the work. Its holder renews it every `RENEW_SECONDS`. A claim is void if it has not
changed for `SILENCE_SECONDS`, by the reader's clock, or if its process was on this machine and is gone; then another
run takes it over. Claims only save work, and correctness never depends on them: two holders of one shard write the same
bytes (law 4). This happens if a server without conditional writes receives two claims at the same moment. A `turn` is
for work that takes long: a new claim is looked at once more before it begins.
"""

import hashlib
import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from storage.errors import StoreError, StoreNotFoundError
from storage.objects import create_bytes, delete, join, local_folder, read_bytes, write_bytes
from storage.records import author

logger = logging.getLogger(__name__)

RENEW_SECONDS = 10.0
SILENCE_SECONDS = 45.0
_LOOK_SECONDS = 1.0
_SETTLE_SECONDS = 0.5
_SAY_SECONDS = 60.0
_FOLDER = "claims"
_ENDING = ".claim"
_FOLDER_CLAIM = re.compile(r"\.claim(\.[0-9a-f]{16})?$")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The facts of a claim about its holder."""

    token: str
    """Random text that identifies this claim."""
    author: str
    """The holder: `user@host`, or the value of ADVKD_AUTHOR."""
    machine: str
    """Identifies the machine, its boot and its namespace of process ids; empty if unknown."""
    process: int
    """Id of the process."""
    born: str
    """When that process started, in the kernel's ticks, because process ids are reused."""
    beat: int = 0
    """How often the claim has been renewed."""

    def to_bytes(self) -> bytes:
        """Serialises the claim as it is stored."""
        return json.dumps(asdict(self)).encode()

    @property
    def holder(self) -> str:
        """Describes the holder, for people."""
        return f"{self.author or 'another run'} (process {self.process})"

    def is_dead(self) -> bool:
        """Returns whether the claim's process was on this machine and is gone."""
        return self.machine == _machine() and _born(self.process) != self.born


class Claims:
    """The claims that this process holds, renewed by one thread, and other holders' claims that it has seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Renewal and release exclude each other: a renewal after the release would overwrite the next holder's claim.
        self._writing = threading.Lock()
        self._held: dict[str, Claim] = {}
        self._seen: dict[str, tuple[bytes | None, float]] = {}
        self._renewing: threading.Thread | None = None

    def take(self, uri: str, *, settle: bool = False) -> Claim | None:
        """Takes a claim; returns None if this process holds it now, otherwise the claim of the present holder.

        Args:
            uri: URI of the claim.
            settle: in an object store, wait for half a second and look whether another run has written over it.

        Raises:
            StoreError: the claim cannot be read or written.
        """
        mine = _own_claim()
        if create_bytes(uri, mine.to_bytes()):
            if settle and local_folder(uri) is None and not _stays(uri, mine):
                return self.holder(uri) or mine
        else:
            data, other = self._look(uri)
            if other is not None:
                return other
            if not self._replace(uri, data, mine):
                return self.holder(uri) or mine
        self._keep(uri, mine)
        return None

    def holder(self, uri: str) -> Claim | None:
        """Returns the claim of a live holder, None if there is none."""
        return self._look(uri)[1]

    def holds(self, uri: str) -> bool:
        """Returns whether this process still holds a claim; a process that was suspended for long has lost it."""
        with self._lock:
            mine = self._held.get(uri)
        return mine is not None and _is_of(uri, mine)

    def _replace(self, uri: str, void: bytes | None, mine: Claim) -> bool:
        """Puts a claim in the place of a void one, or of one that has just gone; returns whether it is there.

        Several runs may find the same claim void. The one that creates the object named after its bytes replaces it.
        """
        if void is None:
            return create_bytes(uri, mine.to_bytes())
        turn = f"{uri}.{hashlib.sha256(void).hexdigest()[:16]}"
        if not create_bytes(turn, mine.to_bytes()):
            if self._look(turn)[1] is None:
                delete(turn)
            return False
        try:
            if _read(uri) != void:
                return False
            write_bytes(uri, mine.to_bytes())
        finally:
            delete(turn)
        return _stays(uri, mine)

    def _look(self, uri: str) -> tuple[bytes | None, Claim | None]:
        """Returns the bytes of a claim, None if there is none, and the claim itself unless it is void."""
        data = _read(uri)
        now = time.monotonic()
        with self._lock:
            before, since = self._seen.get(uri, (None, now))
            since = since if before == data else now
            self._seen[uri] = (data, since)
        try:
            claim = Claim(**json.loads(data or b""))
        except (ValueError, TypeError):
            return data, None
        return data, None if claim.is_dead() or now - since > SILENCE_SECONDS else claim

    def release(self, uri: str) -> None:
        """Releases a claim if this process still holds it."""
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
                # The claim becomes void by itself.
                logger.debug("claim %s not given back: %s", uri, error)

    @contextmanager
    def turn(self, uri: str, say: Callable[[str], None], work: str) -> Iterator[None]:
        """Waits until this process holds the claim, and holds it inside.

        Args:
            uri: URI of the claim.
            say: called with a message about the present holder, at once and then every minute.
            work: describes the work, for people.
        """
        said = -_SAY_SECONDS
        while (other := self.take(uri, settle=True)) is not None:
            if time.monotonic() - said >= _SAY_SECONDS:
                said = time.monotonic()
                say(
                    f"{other.holder} is at work on {work}: waiting; if it ends, or is silent for "
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
                    logger.warning(
                        "the claim %s could not be renewed (%s); another run may do the same work", uri, error
                    )

    def _renew_one(self, uri: str) -> None:
        with self._writing:
            with self._lock:
                if uri not in self._held:
                    return
                self._held[uri] = claim = replace(self._held[uri], beat=self._held[uri].beat + 1)
            if _is_of(uri, claim):
                write_bytes(uri, claim.to_bytes())
                return
            # This process was suspended for so long that another one took over.
            logger.warning("the claim %s was taken over by another run", uri)
            with self._lock:
                self._held.pop(uri, None)


CLAIMS = Claims()
"""The claims of this process."""


def claim_uri(uri: str, shard: int) -> str:
    """Returns the URI of the claim of a store's shard."""
    return join(uri, _FOLDER, f"{shard:06d}.json")


def folder_claim(folder: str) -> str:
    """Returns the URI of the claim of a folder, which lies beside it, because folders are replaced as a whole."""
    return f"{folder.rstrip('/')}{_ENDING}"


def is_folder_claim(key: str) -> bool:
    """Returns whether a key is that of a folder's claim, or of the object by which a void one is replaced."""
    return _FOLDER_CLAIM.search(key) is not None


def _read(uri: str) -> bytes | None:
    """Returns the bytes of a claim, None if there is none."""
    try:
        return read_bytes(uri)
    except StoreNotFoundError:
        return None


def _is_of(uri: str, claim: Claim) -> bool:
    try:
        facts = json.loads(_read(uri) or b"")
    except ValueError:
        return False
    return isinstance(facts, dict) and facts.get("token") == claim.token


def _stays(uri: str, claim: Claim) -> bool:
    """Returns whether a claim is still there after a moment: without conditional writes a later one replaces it."""
    time.sleep(_SETTLE_SECONDS)
    return _is_of(uri, claim)


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
        # Without /proc nothing is known about processes: a claim becomes void by silence alone.
        return ""
    return f"{socket.gethostname()} {boot} {numbering}"


def _born(process: int) -> str:
    """Returns when a process started; empty if it does not exist or is a zombie."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]
