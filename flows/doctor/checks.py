"""Findings of `advkd doctor`: one per check, with a remedy if there is a problem."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fix:
    """What `advkd doctor --fix` may do about a finding: nothing that anybody could miss."""

    question: str
    """Asks whether to do it."""
    act: Callable[[], str]
    """Does it and returns what it did; looks again first, because time has passed."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of one check.

    Attributes:
        check: what was checked.
        ok: whether all is well.
        fact: what the check found.
        fix: what `--fix` may do about it; None: nothing.
        remedy: how to solve the problem, or what would be better; empty if there is nothing to do.
    """

    check: str
    ok: bool
    fact: str
    remedy: str = ""
    fix: Fix | None = field(default=None, compare=False, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Returns the finding as plain JSON."""
        return {"check": self.check, "ok": self.ok, "fact": self.fact, "remedy": self.remedy}


Check = Callable[[], Sequence[Finding]]


def well(check: str, fact: str) -> Finding:
    """Returns a finding that all is well."""
    return Finding(check=check, ok=True, fact=fact)


def advice(check: str, fact: str, remedy: str, fix: Fix | None = None) -> Finding:
    """Returns a finding that all is well, and what would be better."""
    return Finding(check=check, ok=True, fact=fact, remedy=remedy, fix=fix)


def problem(check: str, fact: str, remedy: str, fix: Fix | None = None) -> Finding:
    """Returns a finding of a problem and its remedy."""
    return Finding(check=check, ok=False, fact=fact, remedy=remedy, fix=fix)


def examine(checks: dict[str, Check]) -> Iterator[Finding]:
    """Yields all findings; a check that fails itself becomes a finding too."""
    for name, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            fact = f"{type(error).__name__}: {' '.join(str(error).split())}"
            yield problem(name, fact, "mend what the message names, and run the doctor again")
