"""What a part of the cache's benchmark hands back, and the pages that are made of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import REPEATS, table


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One line of the table of what was to be reached."""

    what: str
    to_reach: str
    measured: str
    reached: bool
    in_readme: bool = False

    @property
    def row(self) -> list[str]:
        """As a row of a table."""
        return [self.what, self.to_reach, self.measured, "yes" if self.reached else "**no**"]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part: what was measured, how, and what came out."""

    title: str
    text: str
    goals: Sequence[Goal] = ()


_HEADER = ("what", "to reach", "measured", "reached")


def page(sections: Sequence[Section]) -> str:
    """The whole report in markdown."""
    goals = [goal.row for section in sections for goal in section.goals]
    parts = [f"## {section.title}\n{section.text}" for section in sections]
    return "\n\n".join(
        [
            "# The trajectory cache, measured\n\n"
            f"`make bench-cache`, on two shared x86-64 cores. {REPEATS} repeats, in each of which the cases that are "
            "compared take turns; a ratio is taken within a repeat, and what is shown is the median, in brackets "
            "the lowest and the highest. Absolute figures depend on the machine. Files come out of the system's page "
            "cache, so this is about what the software costs, not the disk. 1 MB is 10^6 bytes of states.",
            table(_HEADER, goals),
            *parts,
        ]
    )


def readme_table(sections: Sequence[Section]) -> str:
    """The few lines that the README shows."""
    rows = [goal.row for section in sections for goal in section.goals if goal.in_readme]
    return (
        f"The cache, on the same two cores ([all of it, and how](docs/benchmarks/cache.md)):\n\n{table(_HEADER, rows)}"
    )
