"""Looks at the sources once: which places hold a whole teacher, which are still being uploaded, which are broken."""

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
    TeacherError,
    check_folder,
    folder_fingerprint,
    guided,
    load_teacher,
    pinned,
    resolve_source,
    with_option,
)
from storage.errors import StoreError
from storage.records import make_plain

Check = Callable[[str], object]
"""Takes a pinned teacher; raises `ValueError`, with the reason, if that teacher cannot be distilled."""


@dataclass(frozen=True, kw_only=True)
class LookSpec:
    """Where to look, and when a teacher counts as whole.

    Attributes:
        sources: local folders, `s3://` prefixes, hub ids.
        memory: URI of the watcher's records.
        settle_seconds: how long a place must stay unchanged before it is read, unless it holds a marker.
        announced: place that its uploader has announced as complete.
        guidance: scale of classifier-free guidance of the teachers that take one; None: none.
    """

    sources: tuple[str, ...]
    memory: str = "runs/watch"
    settle_seconds: float = 60.0
    announced: str | None = None
    guidance: float | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        if not self.sources or not all(source.strip() for source in self.sources):
            raise ValueError(
                f"LookSpec.sources must name folders, s3:// prefixes or hub ids, got {list(self.sources)}; give one or "
                "more"
            )
        for uri in (*self.sources, self.memory, self.announced or ""):
            refuse_credentials(uri)
        if self.guidance is not None and not 1 <= self.guidance < math.inf:
            raise ValueError(
                f"LookSpec.guidance must be a scale from 1 (no guidance) on, got {self.guidance}; use 4, or leave it "
                "out"
            )
        if not (math.isfinite(self.settle_seconds) and self.settle_seconds >= 0.0):
            raise ValueError(
                f"LookSpec.settle_seconds must be a time, zero or more, got {self.settle_seconds}; use 60 for uploads "
                "that pause less than a minute"
            )


@dataclass(frozen=True, kw_only=True)
class PlaceState:
    """State of a place.

    Attributes:
        place: see `Candidate`.
        state: "teacher": holds a whole teacher; "waiting": has not settled or cannot be read now; "broken": holds no
            teacher, or one that cannot be distilled.
        fingerprint: fingerprint of the teacher.
        source: the place as the teacher's source, with the guidance scale that it takes, if any.
        reason: why the place is waiting or broken.
        news: whether this look is the first to find this state.
    """

    place: str
    state: Literal["teacher", "waiting", "broken"]
    fingerprint: str = ""
    source: str = ""
    reason: str = ""
    news: bool = False


@dataclass(frozen=True)
class Skipped:
    """A source that could not be looked at; `failed` says that this is an error that does not pass by itself."""

    source: str
    reason: str
    failed: bool


@dataclass(frozen=True)
class Look:
    """Result of one look: the state of every place, and the sources that were skipped."""

    findings: tuple[PlaceState, ...]
    skipped: tuple[Skipped, ...]


def look(spec: LookSpec, question: str, check: Check, *, dry: bool = False) -> Look:
    """Looks at all sources once, and after `settle_seconds` again at the places that were new or changed.

    Args:
        spec: where to look.
        question: digest of all that `check` depends on besides the teacher; when it changes, everything is checked
            again.
        check: decides whether a teacher can be distilled.
        dry: remember nothing and wait for nothing; every place counts as complete.
    """
    memory = Memory(spec.memory)
    listed, skipped = _list(spec)
    judge = _judge_dry if dry else _judge
    findings = {place: judge(candidate, spec, memory, question, check) for place, candidate in listed.items()}
    waiting = {place for place, finding in findings.items() if finding.state == "waiting"}
    if waiting and not dry:
        time.sleep(spec.settle_seconds)
        again, _ = _list(spec)
        findings |= {place: judge(again[place], spec, memory, question, check) for place in waiting & again.keys()}
    return Look(tuple(findings[place] for place in sorted(findings)), tuple(skipped))


def _list(spec: LookSpec) -> tuple[dict[str, Candidate], list[Skipped]]:
    listed: dict[str, Candidate] = {}
    skipped = []
    for source in dict.fromkeys(spec.sources):
        try:
            listed |= {candidate.place: candidate for candidate in candidates(source)}
        except SourceSkippedError as skip:
            skipped.append(Skipped(source, str(skip), failed=False))
        except StoreError as error:
            skipped.append(Skipped(source, str(error), failed=True))
    if spec.announced is not None:
        place = (
            spec.announced.rstrip("/")
            if is_remote(spec.announced)
            else str(Path(spec.announced).expanduser().resolve())
        )
        if place in listed:
            listed[place] = replace(listed[place], complete=True)
        else:
            reason = f"an announced teacher must lie in one of the sources, got {place}; announce what is watched"
            skipped.append(Skipped(place, reason, failed=False))
    return listed, skipped


def _judge(candidate: Candidate, spec: LookSpec, memory: Memory, question: str, check: Check) -> PlaceState:
    stamp = hashlib.sha256(f"{candidate.stamp} {question} {spec.guidance}".encode()).hexdigest()
    now = time.time()
    known = memory.recall(candidate.place)
    if known is None or known.stamp != stamp or known.since > now:
        known = Record(place=candidate.place, stamp=stamp, since=now, fingerprint=None, source="", problem=None)
        memory.remember(known)
    if known.fingerprint is not None:
        return PlaceState(place=candidate.place, state="teacher", fingerprint=known.fingerprint, source=known.source)
    if known.problem is not None:
        return PlaceState(place=candidate.place, state="broken", reason=known.problem)
    if not candidate.complete and now - known.since < spec.settle_seconds:
        reason = f"it changed less than {spec.settle_seconds:g} s ago and holds no {MARKER}"
        return PlaceState(place=candidate.place, state="waiting", reason=reason)
    finding = _inspect(candidate, spec.guidance, check)
    if finding.state == "teacher":
        memory.remember(replace(known, fingerprint=finding.fingerprint, source=finding.source))
    elif finding.state == "broken":
        memory.remember(replace(known, problem=finding.reason))
    return finding


def _judge_dry(candidate: Candidate, spec: LookSpec, memory: Memory, question: str, check: Check) -> PlaceState:
    return _inspect(candidate, spec.guidance, check)


def _inspect(candidate: Candidate, guidance: float | None, check: Check) -> PlaceState:
    """Reads a whole place. An error that may pass by itself means waiting; only wrong content means broken."""
    try:
        folder = resolve_source(candidate.place)
        check_folder(folder)
        source, fingerprint = candidate.place, folder_fingerprint(folder)
        if guidance is not None:
            source, fingerprint = _guided(pinned(candidate.place, fingerprint), candidate.place, guidance)
        # With the pin, every later reader gets this very content, or an error.
        check(pinned(source, fingerprint))
    except TeacherChangedError as error:
        return PlaceState(place=candidate.place, state="waiting", reason=str(error))
    except (StoreError, OSError) as error:
        return PlaceState(place=candidate.place, state="waiting", reason=f"it cannot be read now: {error}")
    except ValueError as error:
        return PlaceState(place=candidate.place, state="broken", reason=str(error), news=True)
    return PlaceState(place=candidate.place, state="teacher", fingerprint=fingerprint, source=source, news=True)


def _guided(plain: str, place: str, scale: float) -> tuple[str, str]:
    """Returns source and fingerprint of a teacher under guidance, or of the teacher as it is if it knows none.

    Args:
        plain: the pinned source of the teacher as it is.
        place: its place.
        scale: the guidance scale.
    """
    teacher = load_teacher(plain)
    try:
        under = guided(teacher, scale)
    except TeacherError:
        return place, teacher.fingerprint
    return (place if under is teacher else with_option(place, "guidance", f"{scale!r}")), under.fingerprint
