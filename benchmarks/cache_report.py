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
    headline: bool = False

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
            f"`make bench-cache`, on two shared x86-64 cores. There are {REPEATS} repeats, in each of which the cases "
            "that are compared take turns. A ratio is taken within a repeat. Figures are medians, with the lowest and "
            "the highest in brackets; absolute ones depend on the machine. Files are read from the system's page "
            "cache, so the figures show the cost of the software, not of the disk. 1 MB is 10^6 bytes of states.",
            table(_HEADER, goals),
            *parts,
        ]
    )


def headline_table(sections: Sequence[Section]) -> str:
    """The headline goals, for `docs/cache.md`."""
    rows = [goal.row for section in sections for goal in section.goals if goal.headline]
    return (
        "Measured on two shared x86-64 cores ([all figures, and how they were measured](benchmarks/cache.md)):\n\n"
        f"{table(_HEADER, rows)}"
    )
