"""What every benchmark does: repeat, take turns, take medians, write a table."""

import gc
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REPEATS = 3

_SECTION = re.compile(r"<!-- teacher (\S+) -->\n(.*?)\n<!-- /teacher \1 -->", re.DOTALL)
Runs: TypeAlias = Sequence[Mapping[str, float]]
"""One figure per case, repeat by repeat."""


def seconds_per_call(call: Callable[[], object], calls: int, warm: int = 2) -> float:
    """Mean seconds of `call` over `calls` calls, after `warm` calls that do not count."""
    for _ in range(warm):
        call()
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls


def per_second(work: Callable[[], int]) -> float:
    """Speed of a call that returns how much it did."""
    began = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - began)


def megabytes_per_second(read: Callable[[], int]) -> float:
    """Speed of a call that returns how many bytes it read."""
    return per_second(read) / 1e6


def medians(measure: Callable[[], dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The median of every figure of every case over three runs of `measure`."""
    runs = [measure() for _ in range(REPEATS)]
    return {
        case: {name: statistics.median(run[case][name] for run in runs) for name in figures}
        for case, figures in runs[0].items()
    }


def interleaved(cases: Mapping[str, Callable[[], float]], repeats: int = REPEATS) -> list[dict[str, float]]:
    """The figures of all cases, which take turns, so that a slow moment of the machine hits all of them."""
    runs: list[dict[str, float]] = []
    for repeat in range(repeats):
        runs.append({})
        for name, case in cases.items():
            gc.collect()
            runs[-1][name] = case()
            progress(f"  {repeat + 1}/{repeats} {name}: {runs[-1][name]:.4g}")
    return runs


def figures(runs: Runs, case: str) -> list[float]:
    """What one case gave, repeat by repeat."""
    return [run[case] for run in runs]


def ratios(runs: Runs, case: str, other: str) -> list[float]:
    """One case over another, each within one repeat."""
    return [run[case] / run[other] for run in runs]


def spread(values: Iterable[float], form: str = ".2f") -> str:
    """The median, and from where to where the repeats went."""
    found = sorted(values)
    return f"{statistics.median(found):{form}} ({found[0]:{form}} to {found[-1]:{form}})"


def progress(text: str) -> None:
    """Says on stderr what is going on."""
    print(text, file=sys.stderr, flush=True)


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


def write_between_marks(path: Path, mark: str, text: str) -> None:
    """Replaces what stands between `<!-- mark -->` and `<!-- /mark -->` in a file."""
    opening, closing = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(opening)
    _, ended, after = rest.partition(closing)
    if not (found and ended):
        raise ValueError(f"{path.name} must hold {opening} and, after it, {closing}; put the two marks back")
    path.write_text(f"{before}{opening}\n{text}\n{closing}{after}", encoding="utf-8")


def write_section(path: Path, teacher: str, text: str, head: str) -> None:
    """Puts a teacher's section below a page's head, in the place of its earlier one; other teachers' stay."""
    earlier = dict(_SECTION.findall(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    marked = [
        f"<!-- teacher {name} -->\n{part}\n<!-- /teacher {name} -->"
        for name, part in {**earlier, teacher: text}.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join([head, *marked]) + "\n", encoding="utf-8")
