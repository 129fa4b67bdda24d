"""Shows a distillation's result in Prefect's UI: report, figures, pictures. No flow fails because of them.

Pictures are Markdown: below an image artifact, the page prints the whole address, which is the picture in base64.
"""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from advkd.evaluation import number_text, solver_text
from advkd.export import public_uri
from advkd.runtime import StageCounters
from advkd.text import size_text, store_link
from flows.results.summary import DistillResult
from storage.objects import exists, join, read_bytes

PICTURES = {
    "curve": "Distance of student and teacher by passes",
    "samples": "Images of student and teacher",
    "strips": "Trajectories of teacher and student",
}
_MAX_PICTURE_BYTES = 1_000_000


def publish(result: DistillResult) -> None:
    """Shows the result in the UI; logs and leaves out what cannot be shown."""
    slug = f"advkd-{Path(result.facts['student']).parent.name}"
    _try("the report", lambda: create_markdown_artifact(_markdown(result), key=slug, description="Distillation"))
    if rows := _rows(result):
        _try(
            "the figures",
            lambda: create_table_artifact(rows, key=f"{slug}-fd", description="Fréchet distances to the teacher"),
        )
    if costs := result.facts["onnx"]["cost"]:
        text = "\n".join(["# Cost on the device", "", *costs])
        _try("the costs", lambda: create_markdown_artifact(text, key=f"{slug}-cost", description="Cost on the device"))
    for name in PICTURES:
        _try(f"{name}.png", lambda name=name: _show_picture(result, name, f"{slug}-{name}"))


def _try(what: str, show: Callable[[], object]) -> None:
    try:
        show()
    except Exception as error:
        get_run_logger().warning(f"{what} could not be shown in the UI ({type(error).__name__}: {error})")


def _markdown(result: DistillResult) -> str:
    facts = result.facts
    model, shards, params = facts["model"], facts["shards"], facts["params"]
    teacher = f"{params['teacher']:,}" if params["teacher"] else "a formula, none"
    browse = store_link(Path(facts["store"]).name)
    lines = [
        f"# {facts['teacher']}: {_worth(facts)}",
        f"- model: {_model_link(model)} version {model['version']} ({model['alias']})",
        *(_measured(measured) for measured in facts["features"].values()),
        f"- parameters: {params['student']:,} (teacher: {teacher})",
        f"- trajectories: [{browse}]({browse}), where `advkd browse` serves that store",
        f"- store: `{facts['store']}` ({shards['computed']} shards computed, {shards['reused']} reused)",
        f"- report: `{facts['report']}`, below `{result.root}`",
        f"- ONNX: {_onnx(facts['onnx'])}",
        "",
        "| stage | seconds | teacher passes | samples | read | written |",
        "|---|---:|---:|---:|---:|---:|",
        *(_counted(stage, StageCounters(**counters)) for stage, counters in facts["counters"].items()),
    ]
    return "\n".join(lines)


def _onnx(onnx: dict[str, Any]) -> str:
    place = f"`{onnx['place']}`" if onnx["place"] else "none"
    return f"{place} ({onnx['refused']})" if onnx["refused"] else place


def _worth(facts: dict[str, Any]) -> str:
    if facts["worth"] is None:
        return f"a one-pass student, not comparable: {facts['not_comparable']}"
    more = ("less than " if facts["worth"] <= 1 else "more than ") * facts["worth_clamped"]
    return f"one pass is worth {more}{facts['worth']:.1f} passes of the teacher"


def _measured(headline: dict[str, Any]) -> str:
    fd = headline["fd"]
    read = headline["label_fidelity"]
    labels = f", {100 * read['student']:.1f} % read as their label" if read else ""
    if read and read["fitted"]:
        labels += f" by a classifier fitted to the teacher's images ({100 * read['teacher']:.1f} % of these)"
    recall = "" if headline["recall"] is None else f", recall {headline['recall']:.3f}"
    return f"- {fd['name']} to {fd['target']}: {fd['student']:.2f}{recall}{labels}"


def _counted(stage: str, counters: StageCounters) -> str:
    counts = (f"{counters.seconds:.0f}", f"{counters.passes:,}", f"{counters.samples:,}")
    return "| " + " | ".join((stage, *counts, size_text(counters.bytes_read), size_text(counters.bytes_written))) + " |"


def _model_link(model: dict[str, str]) -> str:
    """Returns a link to the model's page if the registry is a service, without its password; else the model's name."""
    service = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not service.startswith(("http://", "https://")):
        return f"`{model['name']}`"
    page = public_uri(service).rstrip("/")
    return f"[{model['name']}]({page}/#/models/{quote(model['name'])}/versions/{model['version']})"


def _rows(result: DistillResult) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, measured in result.facts["features"].items():
        fd = measured["fd"]
        rows.append(_row(name, "student", 1, fd["student"]))
        rows += [
            _row(name, f"teacher, {solver_text(point['solver'])}", point["passes"], point["fd"])
            for point in fd["teacher"]
        ]
    return rows


def _row(features: str, sampler: str, passes: int, fd: float) -> dict[str, object]:
    return {"sampler": sampler, "passes": passes, "Fréchet distance": number_text(fd), "features": features}


def _show_picture(result: DistillResult, name: str, key: str) -> None:
    uri = join(result.root, str(Path(result.facts["report"]).with_name(f"{name}.png")))
    if not exists(uri):
        return
    picture = read_bytes(uri)
    if len(picture) <= _MAX_PICTURE_BYTES:
        data = base64.b64encode(picture).decode()
        text = f"![{PICTURES[name]}](data:image/png;base64,{data})"
        create_markdown_artifact(text, key=key, description=PICTURES[name])
