"""A student as a folder that diffusers loads without this package: weights, code, and a card with its lineage.

    model_index.json  pipeline.py  README.md
    student/          config.json  diffusion_pytorch_model.safetensors  layerwise_student.py (or progressive_student.py)

diffusers runs the two Python files (local or from the hub) only for callers who pass `trust_remote_code=True`; they are
short and import torch, numpy and diffusers alone.
"""

import hashlib
import json
import shutil
from pathlib import Path

import diffusers

from advkd.evaluation import EvalReport, Metric, worth_sentence
from advkd.export import pipeline
from advkd.export.bundle import bundle_source
from advkd.export.lineage import Lineage
from advkd.files import whole_folder
from advkd.students import CONFIG, WEIGHTS, AnyStudent, load_student, student_files

PIPELINE_MODULE = "pipeline"


def export_artifact(student_folder: str | Path, out: str | Path, lineage: Lineage, report: EvalReport) -> Path:
    """Writes the folder, whole or not at all (an older one at `out` is replaced), and returns it.

    Raises:
        StudentError: no usable student.
        OSError: it cannot be written; what was begun is removed.
    """
    kind = type(load_student(student_folder))
    final = Path(out)
    files = student_files(student_folder)
    with whole_folder(final, "an artifact") as partial:
        (partial / "student").mkdir(exist_ok=True)
        shutil.copyfile(files.weights, partial / "student" / WEIGHTS)
        for name, text in _texts(kind, files.config, lineage, report).items():
            (partial / name).write_text(text, encoding="utf-8")
    return final


def artifact_digest(folder: str | Path) -> str:
    """sha256 over what an artifact computes: code, config and weights; the card does not count."""
    sha = hashlib.sha256()
    root = Path(folder)
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name != "README.md" and "__pycache__" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            sha.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return sha.hexdigest()


def student_module(kind: type[AnyStudent]) -> str:
    """Name of the module that a student's network travels in."""
    return f"{kind.__module__.rpartition('.')[2]}_student"


def _texts(kind: type[AnyStudent], config: Path, lineage: Lineage, report: EvalReport) -> dict[str, str]:
    module = student_module(kind)
    index = {
        "_class_name": [PIPELINE_MODULE, pipeline.AdvKDPipeline.__name__],
        "_diffusers_version": diffusers.__version__,
        "student": [module, kind.__name__],
    }
    student = json.loads(config.read_text(encoding="utf-8"))
    # diffusers may note where a model was loaded from, which is nobody else's business.
    student.pop("_name_or_path", None)
    return {
        "model_index.json": _json(index),
        f"{PIPELINE_MODULE}.py": Path(pipeline.__file__).read_text(encoding="utf-8"),
        f"student/{CONFIG}": _json(student),
        f"student/{module}.py": bundle_source(
            kind, "The student's network, copied from advkd's source: torch, numpy and diffusers alone."
        ),
        "README.md": model_card(module, lineage, report),
    }


def model_card(module: str, lineage: Lineage, report: EvalReport) -> str:
    """The card: what it is, how to use it, how good it is by which protocol, where it comes from."""
    student, teacher = report.cost.student, report.cost.teacher
    metrics = [*report.to_teacher.metrics(), *(() if report.to_real is None else report.to_real.metrics())]
    rows = "\n".join(_row(metric) for metric in metrics)
    costs = "\n".join(
        f"| latency, batch {batch} | {student.latency_ms[batch]:.3g} ms | {teacher.latency_ms[batch]:.3g} ms |"
        for batch in student.latency_ms
    )
    return f"""---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags: [diffusion, distillation, one-step]
---

# One-pass student of {lineage.teacher}

{worth_sentence(report.worth)} It makes images of {" x ".join(map(str, report.sample_shape))} from unit normal noise in
one forward pass; the chain inside predicts its teacher's states at {", ".join(map(str, report.timesteps[1:]))}.

## Use
```python
from diffusers import DiffusionPipeline

folder = "."  # this folder
pipe = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
images = pipe(batch_size=16, seed=0).images  # or generator=torch.Generator().manual_seed(0), as everywhere in diffusers
states = pipe.student.sample(16, seed=0, states=True).states  # what every submodule predicts, in [-1, 1]
```
`trust_remote_code=True` lets diffusers run `pipeline.py` and `student/{module}.py` of this folder. Both are
short and import torch, numpy and diffusers only; read them first.

## Quality
{report.samples} noises (base seed {report.seed}, first index {report.first_index}), the same for student and teacher.

| metric | value | samples | against | features (sha256) |
|---|---|---|---|---|
{rows}

## Cost
| | student | teacher, {teacher.passes} steps |
|---|---|---|
| parameters | {student.params} | {teacher.params or "-"} |
| multiply-adds per image | {student.macs} | {teacher.macs or "-"} |
{costs}

{report.cost.threads} torch thread(s), {report.cost.device}.

## Lineage
| | |
|---|---|
| teacher | {lineage.teacher}, fingerprint `{lineage.teacher_fingerprint}` |
| store | {lineage.store or "-"}, digest `{lineage.store_digest or "-"}` |
| student | config `{report.student_config_digest}`, weights `{report.student_sha256}` |
| reference | `{report.reference_digest}` |
| code | {lineage.code_revision} |

Training settings:
```json
{json.dumps(lineage.train, indent=1, sort_keys=True)}
```
"""


def _row(metric: Metric) -> str:
    samples = f"{metric.n_fake} / {metric.n_ref}"
    features = f"{metric.extractor} ({metric.extractor_sha256[:12]})"
    return f"| {metric.name} | {metric.value:.4g} | {samples} | {metric.reference} | {features} |"


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
