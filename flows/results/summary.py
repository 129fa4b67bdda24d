"""The result of a distillation, `summary.json`, and the closing tables."""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from advkd.evaluation import EvalReport, Worth, solver_text, worth_sentence
from advkd.export import Export, cost_lines
from advkd.registry import RegisteredModel
from advkd.runtime import StageCounters
from advkd.trajectories import StoreResult
from flows.recipe import Places, Recipe
from flows.train import StudentResult
from storage.objects import join, local_folder, write_json

SHOWN_PASSES = (1, 2, 3, 5, 8, 10, 20, 50)


@dataclass(frozen=True, kw_only=True)
class DistillResult:
    """The result of a distillation; `facts` is the content of `summary.json`.

    Attributes:
        root: folder or URI of all output; `facts` names places in it relative to it.
        facts: plain JSON with worth, worth_ddim, cost_ratio, fd, recall (null without distances), features (these
            figures of every extractor), params, macs, latency_ms, store, student, report, model, artifact, onnx,
            seconds, counters, shards, trained.
    """

    root: str
    facts: dict[str, Any]


@dataclass
class Stopwatch:
    """Measures the seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the time of the block."""
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)


def summarize(
    plan: Recipe,
    places: Places,
    store: StoreResult,
    student: StudentResult,
    report: EvalReport,
    onnx: Export,
    model: RegisteredModel,
    counters: dict[str, StageCounters],
) -> DistillResult:
    """Collects the result and writes `<root>/summary.json`."""
    seconds = {stage: counted.seconds for stage, counted in counters.items()}
    facts = {
        "teacher": plan.precompute.teacher,
        **report.summary(),
        "store": _below(plan.root, store.uri),
        "student": _below(plan.root, student.folder),
        "report": _below(plan.root, join(places.report, "report.html")),
        "model": {"name": model.name, "version": str(model.version), "alias": model.alias},
        "artifact": _below(plan.root, places.artifact),
        "onnx": {"place": _below(plan.root, onnx.uri), "refused": onnx.refused, "cost": _cost_lines(onnx)},
        "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        "counters": {stage: asdict(counted) for stage, counted in counters.items()},
        "shards": {"computed": store.computed, "reused": store.shards - store.computed},
        "trained": student.trained,
    }
    write_json(join(plan.root, "summary.json"), facts)
    return DistillResult(root=plan.root, facts=facts)


def _cost_lines(onnx: Export) -> list[str]:
    return [] if onnx.cost is None else cost_lines(onnx.cost)


def show(result: DistillResult) -> None:
    """Prints the closing tables on stdout."""
    out = Console(highlight=False)
    for part in closing_tables(result):
        out.print(part)
    out.print(f"\nlook at it: {look(result)}\n", soft_wrap=True)


def look(result: DistillResult) -> str:
    """Returns the command that shows the trajectories with the student below them."""
    store, student = (_above(result.root, result.facts[name]) for name in ("store", "student"))
    return shlex.join(["advkd", "browse", store, "--student", student])


def closing_tables(result: DistillResult) -> tuple[RenderableType, ...]:
    """Returns the tables of headline, distances, cost and places."""
    facts = result.facts
    distances = [_distances(measured["fd"]) for measured in facts["features"].values()]
    return _headline(facts), *distances, _cost(facts), _places(result)


def _headline(facts: dict[str, Any]) -> Text:
    passes = facts["worth"]
    worth = None if passes is None else Worth(passes, facts["worth_clamped"])
    sentence = worth_sentence(worth, facts["not_comparable"])
    style = "bold green" if worth is not None else "bold yellow"
    return Text(f"\n{sentence.replace('its teacher', 'its teacher ' + repr(facts['teacher']))}", style=style)


def _distances(fd: dict[str, Any]) -> Table:
    """Returns the distances to the target after so many passes: the student's after one, those of each solver."""
    passes = sorted({1, *(point["passes"] for point in fd["teacher"] if point["passes"] in SHOWN_PASSES)})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column(f"{fd['name']}, passes:", min_width=16)
    for number in passes:
        table.add_column(str(number), justify="right")
    table.add_row("student", f"[bold]{_short(fd['student'])}[/bold]")
    for solver in dict.fromkeys(point["solver"] for point in fd["teacher"]):
        at = {point["passes"]: point["fd"] for point in fd["teacher"] if point["solver"] == solver}
        table.add_row(f"teacher, {solver_text(solver)}", *(_short(at.get(number)) for number in passes), style="dim")
    table.caption = f"to {fd['target']}"
    if fd["student_to_real"] is not None:
        real = f"student {_short(fd['student_to_real'])}, teacher {_short(fd['teacher_to_real'])}"
        table.caption = f"{table.caption}; to real images: {real}"
    return table


def _cost(facts: dict[str, Any]) -> Table:
    (steps,) = facts["latency_ms"].keys() - {"student"}
    table = _table("", "student", steps)
    for name, key in (("parameters", "params"), ("multiply-adds per image", "macs")):
        table.add_row(name, _count(facts[key]["student"]), _count(facts[key]["teacher"]))
    for batch, milliseconds in facts["latency_ms"]["student"].items():
        table.add_row(f"ms, batch {batch}", _short(milliseconds), _short(facts["latency_ms"][steps][batch]))
    if facts["cost_ratio"] is not None:
        table.add_row("multiply-adds saved", f"{facts['cost_ratio']:.1f}x", "")
    for batch, ratio in facts["latency_ratio"].items():
        table.add_row(f"time saved, batch {batch}", f"{ratio:.1f}x", "")
    if facts["worth_ddim"] is not None:
        table.add_row("worth in DDIM passes", f"{facts['worth_ddim']:.1f}", "")
    table.add_row("recall", "-" if facts["recall"] is None else f"{facts['recall']:.3f}", "")
    if read := facts["label_fidelity"]:
        reader = "read as their label" + ", fitted" * read["fitted"]
        table.add_row(reader, *(f"{100 * read[who]:.1f} %" for who in ("student", "teacher")))
    return table


def _places(result: DistillResult) -> Table:
    facts, model = result.facts, result.facts["model"]
    computed, reused = facts["shards"]["computed"], facts["shards"]["reused"]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("seconds", ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in facts["seconds"].items()))
    table.add_row("store", f"{_above(result.root, facts['store'])} ({computed} shards computed, {reused} reused)")
    table.add_row("report", _above(result.root, facts["report"]))
    table.add_row("model", f"{model['name']} version {model['version']} ({model['alias']})")
    table.add_row("diffusers", _above(result.root, facts["artifact"]))
    table.add_row("ONNX", _above(result.root, facts["onnx"]["place"]) if facts["onnx"]["place"] else "none")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column(title, min_width=16)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right", style="bold" if position == 0 else "dim")
    return table


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _count(value: int | None) -> str:
    if value is None:
        return "-"
    scale, unit = next(
        pair for pair in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")) if value >= pair[0] or not pair[1]
    )
    return f"{value / scale:.3g} {unit}".strip()


def _below(root: str, uri: str) -> str:
    here, path = local_folder(root), local_folder(uri)
    if here is None or path is None:
        return uri.removeprefix(f"{root.rstrip('/')}/")
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else uri


def _above(root: str, uri: str) -> str:
    return uri if "://" in uri or Path(uri).is_absolute() else join(root, uri)
