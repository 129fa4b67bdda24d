"""The page and the picture of `make bench-operated`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.measure import DOCS, table, write

_PICTURE = DOCS / "images" / "operated-memory.png"
_WARM_MINUTES = 20.0
"""Growth is of the time after it: by then everything has been used once."""


def write_page(lines: Sequence[dict[str, Any]]) -> None:
    """Writes `docs/benchmarks/operated_memory.md` and its picture of all sittings."""
    sittings = list(dict.fromkeys(line["sitting"] for line in lines))
    parts = [_part([line for line in lines if line["sitting"] == sitting]) for sitting in sittings]
    _draw([[line for line in lines if line["sitting"] == sitting] for sitting in sittings])
    write(
        "operated_memory",
        "# Memory of what stays up\n\n"
        "`make bench-operated`: `make serve` on PostgreSQL, `advkd browse` and a Chromium that shows a gallery, "
        "on two shared cores. Phases of work and of rest take turns. At work, tiny distillations of `mixture` "
        "(`distill/quick`, evaluated and registered) follow each other a minute apart, and browse is asked for a "
        "gallery and a sheet of random samples, again a fifth of a second after each answer. Sizes are proportional "
        "set sizes in MB, once a minute; the processes of runs are not counted.\n\n"
        "![Memory by minute](../images/operated-memory.png)\n\n"
        + "\n\n".join(parts)
        + f"\n\nGrowth is the slope of a line through all minutes from minute {_WARM_MINUTES:.0f} on. The fork "
        "server's size falls while a run shares its memory, so its slope says little.",
    )


def _part(lines: Sequence[dict[str, Any]]) -> str:
    late = [line for line in lines if line["minute"] >= _WARM_MINUTES]
    kinds = [kind for kind in lines[0]["megabytes"] if kind != "benchmark"]
    rows = []
    for kind in kinds:
        sizes = [line["megabytes"][kind] for line in late] or [0]
        rows.append(
            [kind, str(lines[0]["megabytes"][kind]), str(sizes[-1]), str(max(sizes)), f"{_growth(late, kind):+.1f}"]
        )
    last = lines[-1]
    head = ["process", "first minute, MB", "last minute, MB", "most, MB", "growth, MB/h"]
    hours, answers = last["minute"] / 60, f"{last['answers']:,} answers of browse".replace(",", " ")
    return f"{hours:.1f} hours, {last['runs']} distillations, {answers}:\n\n{table(head, rows)}"


def _growth(lines: Sequence[dict[str, Any]], kind: str) -> float:
    """MB per hour by least squares."""
    if len(lines) < 2:
        return 0.0
    hours = np.array([line["minute"] / 60 for line in lines])
    return float(np.polyfit(hours, [line["megabytes"][kind] for line in lines], 1)[0])


def _draw(sittings: Sequence[Sequence[dict[str, Any]]]) -> None:
    figure = Figure(figsize=(9, 4 * len(sittings)), layout="constrained")
    for axes, lines in zip(figure.subplots(len(sittings), squeeze=False)[:, 0], sittings, strict=True):
        minutes = [line["minute"] for line in lines]
        for kind in [kind for kind in lines[0]["megabytes"] if kind != "benchmark"]:
            axes.plot(minutes, [line["megabytes"][kind] for line in lines], label=kind)
        works = [line["phase"] == "works" for line in lines]
        whole = axes.get_xaxis_transform()
        axes.fill_between(minutes, 0, 1, where=works, transform=whole, color="0.92", step="post")
        axes.set(
            xlabel="minute (grey: at work)", ylabel="proportional set size, MB", xlim=(0, minutes[-1]), ylim=(0, None)
        )
        axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.18), frameon=False)
    _PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(_PICTURE, dpi=120)
