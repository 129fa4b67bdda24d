"""What a student costs where it runs: its exported networks beside torch and beside its teacher, timed in turns.

Each figure of latency is a median of repeats that take turns with those of all others, so that whatever else the
machine does falls on all of them: ratios within a card hold better than its milliseconds do.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from advkd.evaluation import add_devices, device_name
from advkd.files import read_published, record_from_json
from advkd.text import size_text
from storage.errors import StoreNotFoundError

COST = "cost.json"
BATCHES = (1, 8, 64)
MIN_REPEATS, MAX_REPEATS = 3, 200


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The time of a batch: median milliseconds over `repeats`, on so many threads."""

    batch: int
    threads: int
    milliseconds: float
    repeats: int

    @property
    def images_per_second(self) -> float:
        """Images that are made in a second."""
        return 1000.0 * self.batch / self.milliseconds


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """One way to make the student's images, or its teacher's.

    Attributes:
        name: such as "ONNX Runtime int8".
        file_bytes: size of what has to be downloaded; None for the teacher.
        parameters: number of weights; None for a teacher without a network.
        multiply_adds: per image, over all passes; None likewise.
        peak_memory_bytes: most memory of a process of its own that makes as many images as the largest batch, its
            program included; None where it was not measured.
        latencies: by batch and threads.
    """

    name: str
    file_bytes: int | None
    parameters: int | None
    multiply_adds: int | None
    peak_memory_bytes: int | None
    latencies: tuple[Latency, ...]

    def latency(self, batch: int, threads: int) -> Latency:
        """Returns the latency of a batch on so many threads."""
        return next(each for each in self.latencies if (each.batch, each.threads) == (batch, threads))


@dataclass(frozen=True, kw_only=True)
class CostCard:
    """The costs of an export, measured in one run on one machine.

    Attributes:
        device: processor.
        int8_arithmetic: whether the processor adds up products of 8-bit numbers in one instruction (VNNI, AMX, dot
            products of ARM); None: not known.
        threads: numbers of threads that were timed, one first.
        batches: sizes of batches that were timed.
        versions: of torch and ONNX Runtime.
        rows: torch first.
    """

    device: str
    int8_arithmetic: bool | None
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    versions: Mapping[str, str]
    rows: tuple[CostRow, ...]

    def to_json(self) -> str:
        """Returns the card as JSON."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    def speedup(self, row: CostRow, batch: int, threads: int = 1) -> float:
        """Returns how many times faster a row is than the first one."""
        return self.rows[0].latency(batch, threads).milliseconds / row.latency(batch, threads).milliseconds


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What is timed: a row without its latencies, and how it runs.

    Attributes:
        row: what is known of it.
        run: runs a batch of so many images on so many threads.
    """

    row: CostRow
    run: Callable[[int, int], object]


def measure_costs(
    runners: Sequence[Runner], versions: Mapping[str, str], seconds: float, batches: Sequence[int] = BATCHES
) -> CostCard:
    """Times all runners in turns, on one thread and on all.

    Args:
        runners: torch first.
        versions: of what they run on.
        seconds: time for each runner, batch and number of threads; at least three repeats are measured.
        batches: sizes of batches.
    """
    threads = tuple(dict.fromkeys((1, len(os.sched_getaffinity(0)))))
    timed: dict[str, list[Latency]] = {runner.row.name: [] for runner in runners}
    for batch in batches:
        for count in threads:
            for name, milliseconds, repeats in _in_turns(runners, batch, count, seconds):
                timed[name].append(Latency(batch=batch, threads=count, milliseconds=milliseconds, repeats=repeats))
    rows = tuple(replace(runner.row, latencies=tuple(timed[runner.row.name])) for runner in runners)
    return CostCard(
        device=device_name("cpu"),
        int8_arithmetic=int8_arithmetic(),
        threads=threads,
        batches=tuple(batches),
        versions=dict(versions),
        rows=rows,
    )


def read_cost(uri: str) -> CostCard | None:
    """Reads the card of an export at a URI; None if it has none.

    Raises:
        ValueError: it is no card of this version.
        StoreError: the object store does not return it.
    """
    try:
        return record_from_json(CostCard, read_published(uri, COST))
    except (StoreNotFoundError, NotADirectoryError):
        return None


def report_costs(uri: str, card: CostCard) -> None:
    """Adds a card to the page of an evaluation, a folder or URI; see `add_devices`."""
    add_devices(uri, cost_rows(card), cost_note(card))


def int8_arithmetic() -> bool | None:
    """Returns whether this processor multiplies 8-bit numbers in one instruction; None if that is not known."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - no path of ours
            flags = next(line for line in file if line.lower().startswith(("flags", "features"))).split()
    except (OSError, StopIteration):
        return None
    return any("vnni" in flag or flag in ("amx_int8", "asimddp", "i8mm") for flag in flags)


def cost_rows(card: CostCard) -> list[tuple[str, ...]]:
    """Returns the card as a table, the header first, with the speed relative to torch."""
    columns = [(batch, count) for count in card.threads for batch in card.batches]
    named = [f"batch {batch}{'' if count == 1 else f', {count} threads'}" for batch, count in columns]
    rows = [("", "file", "parameters", "multiply-adds", "memory", *named)]
    for row in card.rows:
        size, memory = ("-" if value is None else size_text(value) for value in (row.file_bytes, row.peak_memory_bytes))
        counts = ("-" if value is None else f"{value:,}" for value in (row.parameters, row.multiply_adds))
        times = (_time(card, row, batch, count) for batch, count in columns)
        rows.append((row.name, size, *counts, memory, *times))
    return rows


def cost_note(card: CostCard) -> str:
    """Returns the sentence below the table: units, and the machine."""
    arithmetic = {True: "with", False: "without", None: "perhaps without"}[card.int8_arithmetic]
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    return (
        f"Milliseconds, and how many times faster than torch. {card.device}, {arithmetic} int8 arithmetic; {versions}."
    )


def cost_lines(card: CostCard) -> list[str]:
    """Returns the card as a Markdown table, and a line on the machine."""
    header, *rows = (f"| {' | '.join(row)} |" for row in cost_rows(card))
    rule = f"|---|{'---:|' * (len(cost_rows(card)[0]) - 1)}"
    return [header.replace("|  |", "| |", 1), rule, *rows, "", cost_note(card)]


def _time(card: CostCard, row: CostRow, batch: int, threads: int) -> str:
    milliseconds = f"{row.latency(batch, threads).milliseconds:.3g}"
    return milliseconds if row is card.rows[0] else f"{milliseconds} ({card.speedup(row, batch, threads):.2g}x)"


def _in_turns(runners: Sequence[Runner], batch: int, threads: int, seconds: float) -> Iterator[tuple[str, float, int]]:
    times: dict[str, list[float]] = {}
    for runner in runners:
        runner.run(batch, threads)
        times[runner.row.name] = []
    waiting = list(runners)
    while waiting:
        for runner in tuple(waiting):
            taken = times[runner.row.name]
            began = time.perf_counter()
            runner.run(batch, threads)
            taken.append(time.perf_counter() - began)
            total = sum(taken)
            # A teacher may take minutes: then one repeat must do.
            if len(taken) >= MAX_REPEATS or total >= (seconds if len(taken) >= MIN_REPEATS else 30 * seconds + 1):
                waiting.remove(runner)
    for name, taken in times.items():
        yield name, 1000.0 * statistics.median(taken), len(taken)
