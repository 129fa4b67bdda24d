"""The page of `make soak`: what was killed, when, and what became of the run."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import table, write
from flows.automations import RETRY_SECONDS, SILENCE_SECONDS
from flows.upkeep import LOOK_SECONDS, SLACK_SECONDS


def write_page(kills: Sequence[dict[str, Any]], planned: int, patience: float) -> None:
    """Writes `docs/benchmarks/faults.md`: of so many kills those that were run, judged after `patience` seconds."""
    counted = Counter(found["target"] for found in kills)
    whole = [found for found in kills if found["ended"] == "COMPLETED" and not found["damaged"]]
    stale = [found for found in kills if found["still_running"]]
    rows = [
        [
            str(number),
            found["target"],
            f"{found['killed_after']:.0f} of {found['usual']:.0f} s",
            (found["state"] or "server away").capitalize(),
            (found["ended"] or "no end").capitalize(),
            f"{found['to_end']:.0f} s",
            "whole" if not found["damaged"] else "; ".join(found["damaged"]),
            ", ".join(found["still_running"]) or "none",
            " > ".join(found["states"]),
        ]
        for number, found in enumerate(kills, 1)
    ]
    header = ["kill", "who", "at", "run then", "ended", "after", "store", "left running", "states of the run"]
    write(
        "faults",
        "# Killed at random instants\n\n"
        f"`make soak`: {len(kills)} of {planned} kills were run for this page "
        f"({', '.join(f'{target} {count}' for target, count in sorted(counted.items()))}). "
        "Each is a tiny `distill/quick` below `make serve` on two shared cores, of which SIGKILL ends the worker, the "
        "flow's process, the training process, all processes of the server, or (`ray`: shards in a Ray cluster) a "
        "worker of the cluster, at an instant drawn evenly over the time that an undisturbed run takes, or over that "
        "of the process. Nobody helps afterwards.\n\n"
        f"**{len(whole)} of {len(kills)} runs ended Completed with a store that verifies; after {len(stale)} of the "
        f"kills a run was still Running, Pending, Cancelling or waiting in Crashed when the stated time was over.**\n\n"
        f"{table(header, rows)}\n\n"
        "`after` is from the kill to the end of the run, which includes what was left to do. `left running` is who "
        f"still was {patience:.0f} s after the kill, or at the end if that came later: {SILENCE_SECONDS} s of silence, "
        f"{SLACK_SECONDS} s that upkeep leaves to the automations, {LOOK_SECONDS:.0f} s to its next look, "
        f"{RETRY_SECONDS} s to the next attempt, and a minute for a killed server to come up.",
    )
