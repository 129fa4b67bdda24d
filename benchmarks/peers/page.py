"""The page of the peers: a section and a picture for every teacher, and who is ahead of ours, in words."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import table, write_section
from benchmarks.peers.table import BASE, PEERS
from benchmarks.peers.training_free import Afforded

Runs = Sequence[Mapping[str, float]]
"""Figures of one method, a run for every seed."""
COLUMNS = (
    "method",
    "teacher passes",
    "parameters",
    "multiply-adds",
    "steps",
    "worth",
    "FD",
    "KD",
    "recall",
    "coverage",
    "precision",
    "labels",
    "seeds",
)
_LARGE = 10
"""A kernel distance from which on decimals say nothing: its size is that of the features."""
_HEAD = (
    "# Ours and its peers\n\n"
    "`make bench-peers`: every method trains a student of one pass from the same cache, which has every state "
    "of ten steps of the preset's solver. All have the same number of CPU seconds (of one process with one "
    "torch thread, passes of the teacher included), our student's network or one of as many parameters within "
    "5 %, our batch, our average of weights and, unless it says otherwise, our optimizer and its schedule. "
    "[Worth](../evaluation.md#the-worth), FD, KD, recall, coverage and precision are those of the reports, against the "
    "teacher's fine solution from the same noises. `labels` is the share of images that are read as the class that was "
    "asked for, by the share of that solution's. Teacher passes are those of the cache and, after the plus, "
    "of training."
)


def row(title: str, passes: str, runs: Runs) -> list[str]:
    """Returns a row of the table: medians over seeds, with the lowest and the highest where there are several."""

    def shown(figure: str, form: str, scale: float = 1.0) -> str:
        values = sorted(run[figure] / scale for run in runs if figure in run)
        if not values:
            return "-"
        middle = f"{statistics.median(values):{form}}"
        return middle if len(values) == 1 else f"{middle} ({values[0]:{form}} to {values[-1]:{form}})"

    less = "< " if all(run["clamped"] and run["worth"] <= 1.0 for run in runs) else ""
    return [
        title,
        passes,
        f"{shown('params', '.0f', 1e3)} k" if runs[0].get("params") else "-",
        f"{shown('macs', '.1f', 1e6)} M" if runs[0].get("macs") else "-",
        shown("steps", ".0f"),
        f"{less}{shown('worth', '.1f')}",
        shown("fd", ".2f"),
        shown("kd", ".0f" if max(run.get("kd", 0.0) for run in runs) >= _LARGE else ".3g"),
        shown("recall", ".3f"),
        shown("coverage", ".3f"),
        shown("precision", ".3f"),
        shown("labels", ".3f"),
        str(len(runs)),
    ]


def section(
    teacher: str, facts: str, peers: Mapping[str, Runs], free: Mapping[str, Runs], bought: Afforded, cache_passes: int
) -> str:
    """Returns a teacher's section.

    Args:
        teacher: its name.
        facts: how it was measured, in words.
        peers: runs by names in `PEERS`.
        free: runs of the teacher without training, by names.
        bought: steps of the teacher that one pass of ours pays.
        cache_passes: network passes of the cache.
    """
    rows = [row(PEERS[name].title, _passes(cache_passes, runs), runs) for name, runs in peers.items()]
    rows += [row(name, "none", runs) for name, runs in free.items()]
    return "\n\n".join(
        [
            f"## {teacher}",
            facts,
            table(COLUMNS, rows),
            f"{verdict(peers)} {_bought(bought)}",
            f"![first images of every method](../images/peers-{teacher}.png)",
        ]
    )


def verdict(peers: Mapping[str, Runs]) -> str:
    """Says which peers are ahead of ours by the median of FD, and which are not told apart from it by their seeds."""
    ours = peers.get(BASE)
    if not ours:
        return "Ours was not measured here, so nobody is ahead of it or behind."
    mine = [run["fd"] for run in ours]
    ahead, even = [], []
    for name, runs in peers.items():
        theirs = [run["fd"] for run in runs]
        if name != BASE and statistics.median(theirs) < statistics.median(mine):
            ahead.append(f"{PEERS[name].title} (FD {statistics.median(theirs):.2f})")
        if name != BASE and min(len(mine), len(theirs)) > 1 and min(theirs) <= max(mine) and max(theirs) >= min(mine):
            even.append(PEERS[name].title)
    said = f"Ahead of ours (FD {statistics.median(mine):.2f}): {', '.join(ahead) or 'none of these peers'}."
    if even:
        said += f" The seeds do not tell apart from ours: {', '.join(even)}."
    return said if min(map(len, peers.values())) > 1 else f"{said} One seed: differences of a tenth mean nothing."


def written(path: Path, teacher: str, text: str) -> None:
    """Puts a teacher's section into the page, in the place of its earlier one; other teachers' stay."""
    notes = "\n".join(f"- **{peer.title}** ({peer.source}). {peer.notes}" for peer in PEERS.values())
    write_section(path, teacher, text, f"{_HEAD}\n\n{notes}")


def _passes(cache: int, runs: Runs) -> str:
    asked = statistics.median(run["passes"] for run in runs)
    return f"{cache:,}".replace(",", " ") + (f" + {asked:,.0f}".replace(",", " ") if asked else "")


def _bought(bought: Afforded) -> str:
    work = "" if bought.by_work is None else f"{bought.by_work:.2f} of a teacher's step in multiply-adds, "
    paid = " and ".join(map(str, bought.whole))
    return (
        f"One pass of ours is {work}{bought.by_time:.2f} of one in milliseconds (batch 64), so it pays for "
        f"{f'{paid} of them' if paid else 'no whole one'}; the teacher's rows have "
        f"{' and '.join(map(str, bought.steps))} steps."
    )
