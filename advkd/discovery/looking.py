"""One look at the sources: which places hold a whole teacher, which one is still being uploaded, which is broken."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from advkd.discovery.candidates import MARKER, Candidate, SourceSkippedError, candidates
from advkd.discovery.seen import Memory, Record
from advkd.files import is_remote, refuse_credentials
from advkd.teachers import (
    TeacherChangedError,
    check_folder,
    folder_fingerprint,
    pinned,
    resolve_source,
)
from storage.errors import StoreError

Check = Callable[[str], object]
"""Given a pinned teacher; a `ValueError` of it means that this teacher cannot be distilled, and says why."""


@dataclass(frozen=True, kw_only=True)
class LookSpec:
    """Where to look, and when a teacher counts as whole.

    Attributes:
        sources: local folders, `s3://` prefixes, hub ids.
        memory: URI of the watcher's records.
        settle_seconds: how long a place must stay as it is before it is read, unless it holds a marker.
        announced: a place that its uploader says is complete.
    """

    sources: tuple[str, ...]
    memory: str = "runs/watch"
    settle_seconds: float = 60.0
    announced: str | None = None

    def __post_init__(self) -> None:
        if not self.sources or not all(source.strip() for source in self.sources):
            raise ValueError(
                f"LookSpec.sources must name folders, s3:// prefixes or hub ids, got {list(self.sources)}; give one or "
                "more"
            )
        for uri in (*self.sources, self.memory, self.announced or ""):
            refuse_credentials(uri)
        if not (math.isfinite(self.settle_seconds) and self.settle_seconds >= 0.0):
            raise ValueError(
                f"LookSpec.settle_seconds must be a time, zero or more, got {self.settle_seconds}; use 60 for uploads "
                "that pause less than a minute"
            )


@dataclass(frozen=True, kw_only=True)
class PlaceState:
    """What is at a place.

    Attributes:
        place: see `Candidate`.
        state: "teacher": whole, `fingerprint` says which; "waiting": not settled, or not readable now; "broken": no
            teacher, or none that can be distilled.
        fingerprint: of a teacher.
        reason: why it waits or is broken.
        news: whether this look is the first to say so.
    """

    place: str
    state: Literal["teacher", "waiting", "broken"]
    fingerprint: str = ""
    reason: str = ""
    news: bool = False


@dataclass(frozen=True)
class Skipped:
    """A source that could not be looked at; `failed` where that is an error and not a matter of time."""

    source: str
    reason: str
    failed: bool


@dataclass(frozen=True)
class Look:
    """Everything that was found."""

    findings: tuple[PlaceState, ...]
    skipped: tuple[Skipped, ...]


def look(spec: LookSpec, question: str, check: Check, *, dry: bool = False) -> Look:
    """Looks once at all sources, and after `settle_seconds` again at what was new or changed.

    Args:
        spec: where.
        question: digest of what `check` depends on besides the teacher: another one has everything checked again.
        check: whether a teacher can be distilled.
        dry: nothing is remembered and nothing waited for: what is there is taken for complete.
    """
    memory = Memory(spec.memory)
    found, skipped = _list(spec)
    judge = _judge_dry if dry else _judge
    findings = {one.place: judge(one, spec, memory, question, check) for one in found.values()}
    waiting = {place for place, finding in findings.items() if finding.state == "waiting"}
    if waiting and not dry:
        time.sleep(spec.settle_seconds)
        again, _ = _list(spec)
        findings |= {place: judge(again[place], spec, memory, question, check) for place in waiting & again.keys()}
    return Look(tuple(findings[place] for place in sorted(findings)), tuple(skipped))


def _list(spec: LookSpec) -> tuple[dict[str, Candidate], list[Skipped]]:
    found: dict[str, Candidate] = {}
    skipped = []
    for source in dict.fromkeys(spec.sources):
        try:
            found |= {one.place: one for one in candidates(source)}
        except SourceSkippedError as skip:
            skipped.append(Skipped(source, str(skip), failed=False))
        except StoreError as error:
            skipped.append(Skipped(source, str(error), failed=True))
    if spec.announced is not None:
        place = spec.announced.rstrip("/") if is_remote(spec.announced) else str(Path(spec.announced).resolve())
        if place in found:
            found[place] = replace(found[place], complete=True)
        else:
            reason = f"an announced teacher must lie in one of the sources, got {place}; announce what is watched"
            skipped.append(Skipped(place, reason, failed=False))
    return found, skipped


def _judge(one: Candidate, spec: LookSpec, memory: Memory, question: str, check: Check) -> PlaceState:
    stamp = hashlib.sha256(f"{one.stamp} {question}".encode()).hexdigest()
    now = time.time()
    known = memory.recall(one.place)
    if known is None or known.stamp != stamp or known.since > now:
        known = Record(place=one.place, stamp=stamp, since=now, fingerprint=None, problem=None)
        memory.remember(known)
    if known.fingerprint is not None:
        return PlaceState(place=one.place, state="teacher", fingerprint=known.fingerprint)
    if known.problem is not None:
        return PlaceState(place=one.place, state="broken", reason=known.problem)
    if not one.complete and now - known.since < spec.settle_seconds:
        reason = f"it changed less than {spec.settle_seconds:g} s ago and holds no {MARKER}"
        return PlaceState(place=one.place, state="waiting", reason=reason)
    finding = _inspect(one, check)
    if finding.state == "teacher":
        memory.remember(replace(known, fingerprint=finding.fingerprint))
    elif finding.state == "broken":
        memory.remember(replace(known, problem=finding.reason))
    return finding


def _judge_dry(one: Candidate, spec: LookSpec, memory: Memory, question: str, check: Check) -> PlaceState:
    return _inspect(one, check)


def _inspect(one: Candidate, check: Check) -> PlaceState:
    """Reads a place, whole. What may pass by itself is waited for; only what is wrong with the content is broken."""
    try:
        folder = resolve_source(one.place)
        check_folder(folder)
        fingerprint = folder_fingerprint(folder)
        # The pin has whatever reads it from here on read this very content, or complain.
        check(pinned(one.place, fingerprint))
    except TeacherChangedError as error:
        return PlaceState(place=one.place, state="waiting", reason=str(error))
    except (StoreError, OSError) as error:
        return PlaceState(place=one.place, state="waiting", reason=f"it cannot be read now: {error}")
    except ValueError as error:
        return PlaceState(place=one.place, state="broken", reason=str(error), news=True)
    return PlaceState(place=one.place, state="teacher", fingerprint=fingerprint, news=True)
