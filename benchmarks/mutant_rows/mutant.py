"""A row of `make mutants`: one wrong line, and the tests that must not let it pass."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    name: str
    """What is wrong in it."""
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Arguments of pytest: files, or single tests of them."""
