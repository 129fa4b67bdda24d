"""What every benchmark does: repeat, take medians, write a table."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
REPEATS = 3


def seconds_per_call(call: Callable[[], object], calls: int, warm: int = 2) -> float:
    """Mean seconds of `call` over `calls` calls, after `warm` calls that do not count."""
    for _ in range(warm):
        call()
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls


def medians(measure: Callable[[], dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The median of every figure of every case over three runs of `measure`."""
    runs = [measure() for _ in range(REPEATS)]
    return {
        case: {name: statistics.median(run[case][name] for run in runs) for name in figures}
        for case, figures in runs[0].items()
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(name: str, text: str) -> None:
    """Prints the text and writes it to `docs/benchmarks/<name>.md`."""
    path = DOCS / "benchmarks" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    print(text)
