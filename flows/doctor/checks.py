"""Findings of `advkd doctor`: one per check, with a remedy if there is a problem."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of one check.

    Attributes:
        check: what was checked.
        ok: whether all is well.
        fact: what the check found.
        remedy: how to solve the problem; empty if all is well.
    """

    check: str
    ok: bool
    fact: str
    remedy: str = ""


Check = Callable[[], Sequence[Finding]]


def well(check: str, fact: str) -> Finding:
    """Returns a finding that all is well."""
    return Finding(check=check, ok=True, fact=fact)


def problem(check: str, fact: str, remedy: str) -> Finding:
    """Returns a finding of a problem and its remedy."""
    return Finding(check=check, ok=False, fact=fact, remedy=remedy)


def examine(checks: dict[str, Check]) -> Iterator[Finding]:
    """Yields all findings; a check that fails itself becomes a finding too."""
    for name, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            fact = f"{type(error).__name__}: {' '.join(str(error).split())}"
            yield problem(name, fact, "mend what the message names, and run the doctor again")
