"""What `advkd doctor` says: one finding per thing looked at, with a remedy where there is a problem."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        check: what was looked at.
        ok: whether all is well.
        fact: what was found.
        remedy: what to do about it; empty if all is well.
    """

    check: str
    ok: bool
    fact: str
    remedy: str = ""


Check = Callable[[], Sequence[Finding]]


def well(check: str, fact: str) -> Finding:
    """All is well."""
    return Finding(check=check, ok=True, fact=fact)


def problem(check: str, fact: str, remedy: str) -> Finding:
    """Something is not, and what to do."""
    return Finding(check=check, ok=False, fact=fact, remedy=remedy)


def examine(checks: dict[str, Check]) -> Iterator[Finding]:
    """All findings; a check that fails itself is a finding too."""
    for name, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            fact = f"{type(error).__name__}: {' '.join(str(error).split())}"
            yield problem(name, fact, "mend what the message names, and run the doctor again")
