"""The page of `make soak`: what was killed, when, and what became of the run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import table, write


def overdue(alone: Mapping[str, float], stated: Mapping[str, float]) -> list[str]:
    """States in which a run without a process was for longer than is stated."""
    return [state for state, seconds in alone.items() if seconds > stated[state]]


def write_page(kills: Sequence[dict[str, Any]], stated: Mapping[str, float]) -> None:
    """Writes `docs/benchmarks/faults.md` of the kills that were run."""
    counted = Counter(found["target"] for found in kills)
    whole = [found for found in kills if found["ended"] == "COMPLETED" and not found["damaged"]]
    late = [found for found in kills if overdue(found["alone"], stated)]
    rows = [
        [
            str(number),
            found["teacher"].partition("#")[0],
            found["target"],
            f"{found['killed_after']:.0f} s",
            (found["state"] or "server away").capitalize(),
            (found["ended"] or "no end").capitalize(),
            f"{found['to_end']:.0f} s",
            "whole" if not found["damaged"] else "; ".join(found["damaged"]),
            ", ".join(f"{state} {seconds} s" for state, seconds in found["alone"].items() if seconds) or "never",
            " > ".join(found["states"]),
        ]
        for number, found in enumerate(kills, 1)
    ]
    header = ["kill", "teacher", "target", "at", "state then", "ended", "after", "store", "without a process"]
    header += ["states of the run"]
    mended = dict.fromkeys(found["mended"] for found in kills if "mended" in found)
    faults = f" Faults that were found: {'; '.join(mended)}." if mended else ""
    commits = ", ".join(dict.fromkeys(found["code"] for found in kills))
    longest = {state: max((found["alone"][state] for found in kills), default=0) for state in stated}
    write(
        "faults",
        "# Killed at random instants\n\n"
        f"`make soak`: {len(kills)} kills so far "
        f"({', '.join(f'{target} {count}' for target, count in sorted(counted.items()))}). "
        "Each run is a tiny `distill/quick` under `make serve` on two shared cores, of `mixture`, or of `emoji` with "
        "classes, colour and guidance, without an evaluation. SIGKILL ends its worker, its flow "
        "process, the process that forked it (`forks`), all processes of the server, its training process, or (`ray`, "
        "where a Ray cluster computes the shards) a worker of the cluster; `postgres` and `s3` take away for ten "
        "seconds the server's database, or the "
        "S3 server in which the run keeps everything. The instant is random: for `training` and `ray`, uniform over "
        "about their lifetime; for the others, over the time that an undisturbed run takes. Nobody intervenes "
        f"afterwards. Commits: {commits}.\n\n"
        f"**{len(whole)} of {len(kills)} runs ended Completed with a store that verifies; {len(late)} of them stayed "
        f"in a state without a process for longer than the stated limit.**{faults}\n\n"
        f"{table(header, rows)}\n\n"
        "`after` is the time from the kill to the end of the run, the remaining work included. `without a process` is "
        "the longest time for which the server reported this state while the run had no process. "
        + "; ".join(
            f"{state}: the stated limit is {seconds:.0f} s, the longest seen {longest[state]} s"
            for state, seconds in stated.items()
        )
        + ". Each limit includes a minute for a killed server or worker to come up; the rest of it is stated in "
        "[operations](../operations.md#what-happens-when).",
    )
