"""A student as a folder that diffusers loads without this package: weights, code, and a card.

    model_index.json  pipeline.py  README.md
    student/          config.json  diffusion_pytorch_model.safetensors  layerwise_student.py (or progressive_student.py)
    decoder/          config.json  diffusion_pytorch_model.safetensors  of latents: the teacher's autoencoder
    MLmodel           what it takes and gives, for MLflow's page
    onnx/             networks for ONNX Runtime (`advkd.export.onnx`), if it was exported
    mlflow_model.py  python_env.yaml  requirements.txt    for MLflow's model server, likewise
    prompts/          the same, and stored_prompts.py  of prompts: their texts and embeddings

diffusers runs the Python files (local or from the hub) only for callers who pass `trust_remote_code=True`; they are
short and import torch, numpy and diffusers alone.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from advkd.diffusion import PROMPTS, space_of
from advkd.evaluation import EvalReport
from advkd.export.bundle import bundle_source
from advkd.export.cost_card import CostCard, read_cost
from advkd.export.lineage import Lineage
from advkd.export.model_card import model_card
from advkd.export.onnx import read_metadata_at
from advkd.export.requests import ExportError, ExportSpec
from advkd.export.server import SERVER_FILES, server_files, shown_files
from advkd.files import file_sha256, whole_folder
from advkd.networks import (
    DECODER,
    PROMPTS_FOLDER,
    AutoencoderSpace,
    StoredPrompts,
    copy_autoencoder,
    copy_embeddings,
    decoder_places,
    embeddings_places,
    find_embeddings,
)
from advkd.students import CONFIG, WEIGHTS, AnyStudent, load_student, student_files

PIPELINE_MODULE, PIPELINE_CLASS = "pipeline", "AdvKDPipeline"
"""The file that travels with a student, and its class; not imported here, because diffusers' pipelines take seconds."""
_STORED = "stored_prompts"
ONNX = "onnx"
"""The folder of an artifact's ONNX export."""
_DERIVED = ("README.md", ONNX, *SERVER_FILES)


def export_diffusers(student_folder: Path, out: Path, spec: ExportSpec) -> Path:
    """The artifact of a student alone: its card has no figures and no lineage, and says so."""
    return export_artifact(student_folder, out)


def export_artifact(
    student_folder: str | Path,
    out: str | Path,
    lineage: Lineage | None = None,
    report: EvalReport | None = None,
    onnx: Path | None = None,
) -> Path:
    """Writes the folder, whole or not at all (an older one at `out` is replaced), and returns it.

    Args:
        student_folder: as in `EvaluateSpec`.
        out: local folder.
        lineage: where the student comes from, for the card.
        report: its evaluation, for the card.
        onnx: folder of its ONNX export, which becomes `onnx/`; None: it has none.

    Raises:
        StudentError: no usable student.
        ExportError: the ONNX export is of another student, or its networks are damaged or others.
        ValueError: the autoencoder of its latents or the embeddings of its prompts are not beside it.
        OSError: it cannot be written; what was begun is removed.
    """
    student = load_student(student_folder)
    final = Path(out)
    files = student_files(student_folder)
    # Before anything is written: a student of latents whose autoencoder is lost would make no images.
    space = space_of(student.config.get("space"), student.sample_shape, decoder_places(files.weights.parent))
    decoder = space if isinstance(space, AutoencoderSpace) else None
    prompts = _stored_prompts(student, files.config.parent)
    cost = None if onnx is None else _cost_of(onnx, files.weights)
    with whole_folder(final, "an artifact") as partial:
        if onnx is not None:
            shutil.copytree(onnx, partial / ONNX)
        (partial / "student").mkdir(exist_ok=True)
        shutil.copyfile(files.weights, partial / "student" / WEIGHTS)
        if decoder is not None and decoder.folder is not None:
            copy_autoencoder(decoder.folder, partial / DECODER)
        if prompts is not None:
            copy_embeddings(prompts.folder, partial / PROMPTS_FOLDER)
        texts = _texts(type(student), files.config, decoder, prompts, lineage, report, cost)
        texts |= shown_files(student.config, space.image_shape) if onnx is None else server_files(student.config)
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
    return final


def artifact_digest(folder: str | Path) -> str:
    """sha256 over what an artifact computes: code, config and weights; what is made of them does not count."""
    sha = hashlib.sha256()
    root = Path(folder)
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_file() and "__pycache__" not in parts and parts[0] not in _DERIVED:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            sha.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return sha.hexdigest()


def _cost_of(onnx: Path, weights: Path) -> CostCard | None:
    noted = read_metadata_at(str(onnx))
    if noted is None or noted["student"]["sha256"] != file_sha256(weights):
        raise ExportError(
            f"an artifact's ONNX export must be of its student, got {'another one' if noted else 'none'} in {onnx}; "
            "export this student with `advkd export`"
        )
    for model in noted["models"].values():
        file = onnx / model["file"]
        if not file.is_file() or file_sha256(file) != model["sha256"]:
            raise ExportError(
                f"an artifact's ONNX export must hold the networks that were compared with torch, got another one or "
                f"none in {file}; export the student again with `advkd export`"
            )
    return read_cost(str(onnx))


def student_module(kind: type[AnyStudent]) -> str:
    """Name of the module that a student's network travels in."""
    return f"{kind.__module__.rpartition('.')[2]}_student"


@dataclass(frozen=True)
class _Stored:
    """The prompts that an artifact carries, and where they lie."""

    table: StoredPrompts
    folder: Path


def _stored_prompts(student: AnyStudent, folder: Path) -> _Stored | None:
    facts = student.config.get("conditioning") or {}
    if facts.get("kind") != PROMPTS:
        return None
    places = embeddings_places(folder)
    table = find_embeddings(places, facts)
    return _Stored(table, next(Path(place) for place in places if (Path(place) / CONFIG).is_file()))


def _texts(
    kind: type[AnyStudent],
    config: Path,
    decoder: AutoencoderSpace | None,
    prompts: _Stored | None,
    lineage: Lineage | None,
    report: EvalReport | None,
    cost: CostCard | None,
) -> dict[str, str]:
    module = student_module(kind)
    index = {
        "_class_name": [PIPELINE_MODULE, PIPELINE_CLASS],
        "_diffusers_version": version("diffusers"),
        "student": [module, kind.__name__],
    }
    if decoder is not None:
        index[DECODER] = ["diffusers", decoder.facts["class"]]
    carried = {}
    if prompts is not None:
        index[PROMPTS_FOLDER] = [_STORED, StoredPrompts.__name__]
        carried[f"{PROMPTS_FOLDER}/{_STORED}.py"] = bundle_source(
            StoredPrompts, "Prompts and their embeddings, copied from advkd's source: torch and diffusers alone."
        )
    student = json.loads(config.read_text(encoding="utf-8"))
    # diffusers may note where a model was loaded from, which is nobody else's business.
    student.pop("_name_or_path", None)
    return {
        "model_index.json": _json(index),
        f"{PIPELINE_MODULE}.py": Path(__file__).with_name(f"{PIPELINE_MODULE}.py").read_text(encoding="utf-8"),
        f"student/{CONFIG}": _json(student),
        f"student/{module}.py": bundle_source(
            kind, "The student's network, copied from advkd's source: torch, numpy and diffusers alone."
        ),
        **carried,
        "README.md": model_card(
            module, student, lineage, report, origin=prompts.table.config.origin if prompts else "", cost=cost
        ),
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
