"""The card of an artifact: what it is, how to use it, how good it is by which protocol, where it comes from."""

import json
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from advkd.diffusion import LABELS, PROMPTS, Labels
from advkd.evaluation import EvalReport, Metric, worth_sentence
from advkd.export.cost_card import CostCard, cost_lines
from advkd.export.front_matter import front_matter
from advkd.export.lineage import Lineage


def model_card(
    module: str,
    config: Mapping[str, Any],
    lineage: Lineage | None = None,
    report: EvalReport | None = None,
    origin: str = "",
    cost: CostCard | None = None,
) -> str:
    """The card as Markdown.

    Args:
        module: that the student's network travels in.
        config: the student's.
        lineage: where it comes from; None: the card says that this is not noted.
        report: its evaluation; None: the card says that it was not evaluated.
        cost: of its ONNX export, in `onnx/`; None: it has none.
        origin: of a student with prompts: hub id of the pipeline with its text encoder, if it has one.
    """
    title = "One-pass student" if lineage is None else f"One-pass student of {lineage.teacher}"
    conditions = config.get("conditioning")
    labels = Labels(conditions) if conditions is not None and conditions.get("kind") == LABELS else None
    labelled = "" if labels is None else ", class_labels=0"
    prompts = conditions if conditions is not None and conditions.get("kind") == PROMPTS else None
    each = "" if labels is None else ", class_labels=torch.zeros(16, dtype=torch.int64)"
    if prompts is not None:
        prompt = _plain(prompts["first"][0])
        labelled, each = f", prompt={prompt}", f", **pipe.prompts.embed([{prompt}] * 16)"
    besides = _besides(conditions, labels)
    stored = "" if prompts is None else ", and `prompts/stored_prompts.py`"
    all_of_them = "Both" if prompts is None else "All"
    headline = "" if report is None else f"{worth_sentence(report.worth, report.not_comparable)} "
    base_model = origin or ("" if lineage is None else lineage.base_model)
    front = front_matter(config, title, report, base_model=base_model, onnx=cost is not None)
    return f"""{front}
# {title}

{headline}It makes images of {_shapes(config)} from unit normal noise{besides} in
one forward pass; the chain inside predicts its teacher's states at {", ".join(map(str, config["timesteps"][1:]))}.

## Use
```python
from diffusers import DiffusionPipeline

folder = "."  # this folder
pipe = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
images = pipe(batch_size=16, seed=0{labelled}).images  # or generator=torch.Generator().manual_seed(0), as in diffusers
states = pipe.student.sample(16, seed=0, states=True{each}).states  # what every submodule predicts, {_states(config)}
```
`trust_remote_code=True` lets diffusers run `pipeline.py` and `student/{module}.py` of this folder{stored}.
{all_of_them} are short and import torch, numpy and diffusers only; read them first.
{_encoder(prompts, origin)}
{_measured(report)}
{_on_devices(cost)}## Lineage
{_lineage(lineage, report)}"""


def _shapes(config: Mapping[str, Any]) -> str:
    states, space = _by(config["sample_shape"]), config.get("space") or {}
    return f"{_by(space['image_shape'])}, decoded from latents of {states}," if "image_shape" in space else states


def _states(config: Mapping[str, Any]) -> str:
    return "in [-1, 1]" if config.get("space") is None else "not decoded"


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _plain(prompt: str) -> str:
    """A prompt as Python has it, on a line of Markdown code."""
    return json.dumps(prompt, ensure_ascii=False)


def _encoder(prompts: Mapping[str, Any] | None, origin: str) -> str:
    """How prompts become embeddings; "" for other students."""
    if prompts is None:
        return ""
    first = "\n".join(f"    {prompt}" for prompt in prompts["first"])
    where = f"by reference, `{origin}`" if origin else "nowhere: its teacher was no hub id, so give its folder"
    return f"""
## Prompts
It was trained on {prompts["count"]:,} prompts, each as likely. They and their embeddings are in `prompts/`, so
these need no text encoder:

{first}

The text encoder is that of the teacher's {prompts["pipeline"]} (sha256 `{prompts["encoder"]}`), which this folder names
{where}. For any other prompt, with `transformers` installed:
```python
pipe.prompts.load_text_encoder({"" if origin else '"path/to/teacher"'})
images = pipe(prompt="anything").images
```
"""


def _besides(conditions: Mapping[str, Any] | None, labels: Labels | None) -> str:
    """What the student takes beside noise, as the first sentence says it."""
    if labels is not None:
        return f" and a class, {shorten(labels.known, 200)},"
    if conditions is not None and conditions.get("kind") == PROMPTS:
        return " and a prompt"
    return "" if conditions is None else f" and {conditions.get('kind')}"


def _measured(report: EvalReport | None) -> str:
    if report is None:
        return "## Quality\nNot evaluated.\n"
    student, teacher = report.cost.student, report.cost.teacher
    costs = "\n".join(
        f"| latency, batch {batch} | {student.latency_ms[batch]:.3g} ms | {teacher.latency_ms[batch]:.3g} ms |"
        for batch in student.latency_ms
    )
    return f"""## Quality
{report.samples} noises (base seed {report.seed}, first index {report.first_index}), the same for student and teacher,
which is taken at {report.target_steps} steps of {report.target_solver}: a fine solution.

{_metrics(report)}

## Cost
| | student | teacher, {teacher.passes} steps |
|---|---|---|
| parameters | {student.params} | {teacher.params or "-"} |
| multiply-adds per image | {student.macs} | {teacher.macs or "-"} |
{costs}

{report.cost.threads} torch thread(s), {report.cost.device}.
"""


def _on_devices(cost: CostCard | None) -> str:
    if cost is None:
        return ""
    table = "\n".join(cost_lines(cost))
    return f"""## On devices
`onnx/` holds the same student for ONNX Runtime, from noise to images, with what it needs to run (`onnx/README.md`).

{table}

"""


def _metrics(report: EvalReport) -> str:
    if not report.distances:
        return "No distances: no extractor was chosen for these images."
    rows = [_row(metric) for distances in report.distances for metric in distances.metrics()]
    table = ["| metric | value | samples | against | features (sha256) |", "|---|---|---|---|---|", *rows]
    return "\n".join([*table, *_worth(report), *_read(report)])


def _worth(report: EvalReport) -> list[str]:
    if report.not_comparable:
        return [f"\nNot comparable: {report.not_comparable}."]
    lines = []
    for distances in report.distances:
        solvers = ", ".join(dict.fromkeys(point.solver for point in distances.curve))
        ddim = distances.worth_ddim
        alone = "" if ddim is None else f"; DDIM alone needs {'more than ' * ddim.clamped}{ddim.passes:.1f}"
        lines.append(
            f"\nIn {distances.extractor}'s features, the best of {solvers} needs "
            f"{'more than ' * (distances.worth.clamped and distances.worth.passes > 1)}{distances.worth.passes:.1f} "
            f"passes of the teacher for the student's distance{alone}."
        )
    return lines


def _read(report: EvalReport) -> list[str]:
    return [
        f"\nRead as the class they were asked for ({distances.extractor}): {100 * distances.fidelity.student:.1f} % of "
        f"the student's images, {100 * distances.fidelity.teacher:.1f} % of the teacher's"
        f"{', by a classifier fitted to other images of the teacher' * distances.fidelity.fitted}."
        for distances in report.distances
        if distances.fidelity is not None
    ]


def _row(metric: Metric) -> str:
    samples = f"{metric.n_fake} / {metric.n_ref}"
    features = f"{metric.extractor} ({metric.extractor_sha256[:12]})"
    return f"| {metric.name} | {metric.value:.4g} | {samples} | {metric.reference} | {features} |"


def _lineage(lineage: Lineage | None, report: EvalReport | None) -> str:
    if lineage is None or report is None:
        return "Not noted: this folder was exported from the student alone.\n"
    references = ", ".join(f"`{distances.reference_digest}`" for distances in report.distances) or "-"
    return f"""| | |
|---|---|
| teacher | {lineage.teacher}, fingerprint `{lineage.teacher_fingerprint}` |
| store | {lineage.store or "-"}, digest `{lineage.store_digest or "-"}` |
| student | config `{report.student_config_digest}`, weights `{report.student_sha256}` |
| reference | {references} |
| code | {lineage.code_revision} |

Training settings:
```json
{json.dumps(lineage.train, indent=1, sort_keys=True)}
```
"""
