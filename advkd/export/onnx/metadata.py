"""What an exported network is, for whoever has it alone: in `metadata.json`, and in the file itself."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from advkd.diffusion import Labels, Prompts
from advkd.export.onnx.graph import IMAGES, NOISE, ImageNetwork, Subject, output_names
from advkd.export.onnx.running import FORMAT
from advkd.export.onnx.tracing import BATCH, OPSET
from advkd.files import file_sha256
from advkd.students import student_files
from storage.records import code_revision

if TYPE_CHECKING:
    from onnx import ModelProto

_PREFIX = "advkd."
SEEDING: Mapping[str, Any] = {
    "noise": "numpy.random.Generator(Philox(key=[seed, 2 * i])).standard_normal([C, H, W], float32) of image i",
    "condition": "numpy.random.Generator(Philox(key=[seed, 2 * i], counter=[0, 0, 0, 1])).integers(count) of image i",
    "generator": "Philox4x64-10 (Salmon et al. 2011); numpy raises the counter before each block of four words",
    "normal": "numpy's ziggurat for float32, which takes 32 bits at a time, the lower half of a word first",
    "logarithm": "numbers beyond 3.65 follow the C library's log1pf; advkd_noise.mjs has that of the exporting machine",
    "seed": "a whole number in [0, 2**63)",
}
"""The seeding rule (law 1 of the store, `storage.records.seeding`)."""


def network_facts(subject: Subject, network: ImageNetwork, outputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns, as plain JSON, what all precisions of an export share.

    Args:
        subject: what is exported.
        network: as it is traced.
        outputs: what it computed of some noises, by name.
    """
    student = subject.student
    space = subject.space.facts
    names = output_names(subject, states=network.states)
    return {
        "format": FORMAT,
        "opset": OPSET,
        "student": {
            "class": type(student).__name__,
            "sha256": file_sha256(student_files(subject.folder).weights),
            "timesteps": list(student.timesteps),
            "skip": list(map(float, student.coefficients.skip)),
            "gain": list(map(float, student.coefficients.gain)),
        },
        "inputs": _inputs(subject),
        "outputs": [_output(name, outputs[name], student.timesteps) for name in names],
        "space": {"kind": space["kind"], "decoder": space.get("class")},
        "condition": _condition(subject),
        "seeding": dict(SEEDING),
        "made_by": {
            "code": code_revision(),
            **versions(),
        },
    }


def versions() -> dict[str, str]:
    """Returns the versions of what makes and runs an export."""
    import onnx
    import onnxruntime
    import onnxscript
    import torch

    packages = {"torch": torch, "onnx": onnx, "onnxscript": onnxscript, "onnxruntime": onnxruntime}
    return {name: str(package.__version__) for name, package in packages.items()}


def note_facts(model: "ModelProto", facts: Mapping[str, Any], precision: str) -> None:
    """Writes the facts into the model itself, as JSON under keys that begin with `advkd.`."""
    model.ClearField("metadata_props")
    for key, value in {**facts, "precision": precision}.items():
        model.metadata_props.add(key=f"{_PREFIX}{key}", value=json.dumps(value, separators=(",", ":")))
    model.producer_name = "advkd"


def noted_facts(properties: Mapping[str, str]) -> dict[str, Any]:
    """Returns the facts in the properties of a model; empty if another program wrote it."""
    return {
        key.removeprefix(_PREFIX): json.loads(value) for key, value in properties.items() if key.startswith(_PREFIX)
    }


def _inputs(subject: Subject) -> list[dict[str, Any]]:
    described = []
    for name, values in subject.inputs(0, 0, 1).items():
        entry: dict[str, Any] = {
            "name": name,
            "dtype": str(values.dtype).removeprefix("torch."),
            "shape": [BATCH, *values.shape[1:]],
            "range": "unit normal" if name == NOISE else "as its text encoder gives them",
        }
        if isinstance(subject.conditions, Labels) and name != NOISE:
            last = subject.conditions.classes - 1
            entry |= {"range": f"whole numbers from 0 to {last}", "minimum": 0, "maximum": last}
        described.append(entry)
    return described


def _condition(subject: Subject) -> dict[str, Any] | None:
    match subject.conditions:
        case Labels() as labels:
            return {"kind": "labels", "classes": labels.classes, "names": list(labels.names)}
        case Prompts() as prompts:
            return {"kind": "prompts", "count": prompts.count, "pipeline": prompts.facts["pipeline"]}
        case other:
            return None if other.facts is None else {"kind": str(other.facts["kind"])}


def _output(name: str, values: Tensor, timesteps: tuple[int, ...]) -> dict[str, Any]:
    entry = {"name": name, "dtype": "float32", "shape": [BATCH, *values.shape[1:]]}
    if name == IMAGES:
        return {**entry, "range": "[0, 1]", "minimum": 0, "maximum": 1}
    return {**entry, "range": "a predicted state, not decoded", "timestep": timesteps[int(name.rpartition("_")[2])]}
