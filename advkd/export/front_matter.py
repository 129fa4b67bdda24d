"""The front matter of a card, as the model hub reads it: what a model is, what it comes from, its metrics."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advkd.diffusion import PROMPTS
from advkd.evaluation import EvalReport, Metric

TAGS = ("diffusion", "distillation", "one-step")
LICENSE, LICENSE_NAME = "other", "as-its-teacher"
"""What may be done with a student follows from its teacher, whose licence is not known here."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def front_matter(
    config: Mapping[str, Any],
    title: str,
    report: EvalReport | None = None,
    *,
    base_model: str = "",
    onnx: bool = False,
) -> str:
    """Returns the front matter, with its dashes.

    Args:
        config: the student's.
        title: of the card.
        report: its evaluation, whose metrics are listed with their protocol; None: none are.
        base_model: hub id of its teacher, perhaps with a revision; others are not named.
        onnx: whether the folder holds an ONNX export.
    """
    from huggingface_hub import EvalResult, ModelCardData

    conditions = config.get("conditioning")
    kind = None if conditions is None else conditions.get("kind")
    task = {None: "unconditional-image-generation", PROMPTS: "text-to-image"}.get(kind)
    results = (
        []
        if report is None
        else [
            EvalResult(
                task_type=task or "image-generation",
                dataset_type="teacher" if "teacher" in metric.reference else "images",
                dataset_name=_protocol(metric, report),
                metric_type=metric.name.partition("(")[0].lower(),
                metric_name=metric.name,
                metric_value=round(metric.value, 6),
            )
            for distances in report.distances
            for metric in distances.metrics()
        ]
    )
    hub_id = base_model.partition("@")[0]
    data = ModelCardData(
        library_name="diffusers",
        pipeline_tag=task,
        tags=[*TAGS, *(["onnx"] if onnx else [])],
        license=LICENSE,
        license_name=LICENSE_NAME,
        base_model=hub_id if _HUB_ID.fullmatch(hub_id) else None,
        model_name=title if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def licensed(card: str, license: str, base_model: str) -> str:
    """Returns a card with another licence or another base model in its front matter; "" leaves them as they are."""
    from huggingface_hub import ModelCard

    made: Any = ModelCard(card)
    if license:
        made.data.license, made.data.license_name = license, None
    if base_model:
        made.data.base_model = base_model
    return _FRONT.sub(lambda _: f"---\n{made.data.to_yaml()}\n---\n", card, count=1)


def check_card(folder: Path) -> None:
    """Refuses a folder whose card the hub would not take; raises `ValueError`."""
    from huggingface_hub import ModelCard

    text = (folder / "README.md").read_text(encoding="utf-8")
    card: Any = ModelCard(text) if text.startswith("---\n") else None
    if card is None or not card.data.library_name:
        raise ValueError(
            f"a published folder needs a card with front matter, got none in {folder / 'README.md'}; register the "
            "student again"
        )


def _protocol(metric: Metric, report: EvalReport) -> str:
    return (
        f"{metric.reference}, {metric.n_fake} noises from {report.first_index} of seed {report.seed}; features "
        f"{metric.extractor} {metric.extractor_sha256[:12]}"
    )
