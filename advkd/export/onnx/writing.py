"""Writes a student as ONNX: networks, what they are, what they cost, and the file that runs them.

model.onnx  model_fp16.onnx  model_int8.onnx     those that were asked for
metadata.json   inputs, outputs, seeding rule, and of each network its parity
cost.json       what they cost beside torch, and beside the teacher if it is at hand
advkd_onnx.py   runs them, with onnxruntime and numpy alone
prompts/        of a student with prompts: texts and embeddings
README.md
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from advkd.diffusion import Prompts
from advkd.evaluation import ImageDistance, TeacherAtHand, teacher_at_hand
from advkd.export.cost_card import COST
from advkd.export.onnx.card import export_card
from advkd.export.onnx.costs import student_costs
from advkd.export.onnx.graph import NOISE, ImageNetwork, Subject, named_outputs, open_subject
from advkd.export.onnx.metadata import network_facts, note_facts
from advkd.export.onnx.noise_module import noise_module
from advkd.export.onnx.parity import (
    INT8_RMSE,
    Expected,
    Parity,
    Run,
    check_parity,
    expected_of,
    measure_parity,
    session_run,
)
from advkd.export.onnx.quantizing import CALIBRATION_NOISES, CALIBRATION_SEED, Quantized, quantize
from advkd.export.onnx.running import FORMAT, METADATA
from advkd.export.onnx.tracing import require_packages, trace
from advkd.export.requests import ExportSpec, ParityError
from advkd.files import read_published, whole_folder
from advkd.networks import PROMPTS_FOLDER, copy_embeddings, embeddings_places
from storage.errors import StoreNotFoundError

if TYPE_CHECKING:
    from onnx import ModelProto

RUNNER, NOISE_MODULE = "advkd_onnx.py", "advkd_noise.mjs"
"""What runs an export elsewhere, beside the networks."""
FILES: Mapping[str, str] = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_int8.onnx"}
DISTANCE_SHARE, DISTANCE_MARGIN = 0.1, 0.3
"""How much farther from the teacher than the network in float32 one in int8 may be: the larger of share and margin."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """One network of an export.

    Attributes:
        precision: of its numbers.
        model: the file.
        parity: to torch.
        distance: to the teacher; None where it was not at hand.
        quantized: how it was quantized; None in float.
    """

    precision: str
    model: bytes
    parity: Parity
    distance: ImageDistance | None
    quantized: Quantized | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What `metadata.json` says of it."""
        facts: dict[str, Any] = {
            "file": FILES[self.precision],
            "bytes": len(self.model),
            "sha256": hashlib.sha256(self.model).hexdigest(),
            "parity": asdict(self.parity),
            "distance_to_teacher": None if self.distance is None else asdict(self.distance),
        }
        if self.quantized is not None:
            facts["quantized"] = {
                "layers": self.quantized.layers,
                "in_float": list(self.quantized.in_float),
                "rmse_of_each_alone": dict(self.quantized.harm),
                "weights": "7 bits of int8, per channel",
                "activations": "uint8, ranges by the least and the largest value",
                "calibration": f"{CALIBRATION_NOISES} noises of seed {CALIBRATION_SEED}",
            }
        return facts


def export_onnx(folder: Path, out: Path, spec: ExportSpec) -> Path:
    """Writes the folder, whole or not at all (an older one at `out` is replaced), and returns it.

    Args:
        folder: of the student.
        out: local folder.
        spec: precisions and what is measured.

    Raises:
        StudentError: no usable student.
        ExportError: a package is missing, or ONNX cannot express the student.
        ParityError: a network does not compute what the student computes.
        ValueError: the autoencoder of its latents or the embeddings of its prompts are not beside it.
        OSError: it cannot be written; what was begun is removed.
    """
    require_packages()
    subject = open_subject(folder)
    with whole_folder(out, "an export") as partial:
        teacher = _teacher(subject, spec)
        network = ImageNetwork(subject, states=spec.states)
        expected = expected_of(subject, network, spec.noises)
        facts = network_facts(subject, network, named_outputs(subject, network))
        exports, refused = _exports(subject, network, expected, facts, spec, teacher)
        for exported in exports:
            (partial / FILES[exported.precision]).write_bytes(exported.model)
        files = {exported.precision: partial / FILES[exported.precision] for exported in exports}
        models = {exported.precision: exported.facts for exported in exports}
        noted = {"refused": refused, "asked_for_teacher": spec.teacher is not None}
        _write(
            partial / METADATA,
            json.dumps({**facts, **noted, "models": models}, indent=1, allow_nan=False) + "\n",
        )
        _write(partial / RUNNER, Path(__file__).with_name("running.py").read_text(encoding="utf-8"))
        _write(partial / NOISE_MODULE, noise_module())
        if isinstance(subject.conditions, Prompts):
            stored = next(Path(place) for place in embeddings_places(subject.folder) if Path(place).is_dir())
            copy_embeddings(stored, partial / PROMPTS_FOLDER)
        card = student_costs(
            subject,
            network,
            files,
            teacher=teacher,
            fd=exports[0].distance.fd if exports[0].distance else None,
            seconds=spec.seconds,
            memory=spec.memory,
        )
        _write(partial / COST, card.to_json())
        _write(partial / "README.md", export_card(facts, models, card))
    return out


def read_metadata_at(uri: str) -> dict[str, Any] | None:
    """Reads the metadata of an export at a URI; None if there is no whole export of this format.

    Raises:
        StoreError: the object store does not return it.
    """
    try:
        noted = json.loads(read_published(uri, METADATA))
    except (StoreNotFoundError, NotADirectoryError, ValueError):
        return None
    return noted if isinstance(noted, dict) and noted.get("format") == FORMAT else None


def _exports(
    subject: Subject,
    network: ImageNetwork,
    expected: Expected,
    facts: Mapping[str, Any],
    spec: ExportSpec,
    teacher: TeacherAtHand | None,
) -> tuple[list[Exported], dict[str, str]]:
    """Makes the networks, and says why those that may be left out are; the others are compared with that in float32."""
    whole = trace(subject, network)
    exact = _checked("fp32", whole, facts, expected, subject, teacher)

    def fp16() -> Exported:
        # Another copy, because networks are cast in place.
        other = open_subject(subject.folder)
        half = trace(other, ImageNetwork(other, states=spec.states, dtype=torch.float16))
        return _checked("fp16", half, facts, expected, subject, teacher)

    make: Mapping[str, Callable[[], Exported]] = {
        "fp32": lambda: exact,
        "fp16": fp16,
        "int8": lambda: _int8(subject, whole, facts, expected, exact, teacher),
    }
    exports, refused = [], {}
    for precision in spec.precisions:
        try:
            exports.append(make[precision]())
        except ParityError as error:
            if precision not in spec.optional:
                raise
            refused[precision] = str(error)
    return exports, refused


def _checked(
    precision: str,
    model: "ModelProto",
    facts: Mapping[str, Any],
    expected: Expected,
    subject: Subject,
    teacher: TeacherAtHand | None,
) -> Exported:
    note_facts(model, facts, precision)
    content = model.SerializeToString()
    run = session_run(content)
    parity = measure_parity(run, expected, precision)
    check_parity(parity, precision)
    return Exported(precision=precision, model=content, parity=parity, distance=distance_of(run, subject, teacher))


def _int8(
    subject: Subject,
    model: "ModelProto",
    facts: Mapping[str, Any],
    expected: Expected,
    exact: Exported,
    teacher: TeacherAtHand | None,
) -> Exported:
    """Quantizes: the distance to the teacher decides where there is one, else the error of images."""

    def close(content: bytes) -> bool:
        run = session_run(content)
        if exact.distance is None:
            return measure_parity(run, expected, "int8").rmse <= INT8_RMSE
        distance = distance_of(run, subject, teacher)
        assert distance is not None
        return distance.fd <= allowed_distance(exact.distance.fd)

    rows = max(len(inputs[NOISE]) for inputs, _ in expected.parts)
    calibration = [
        subject.inputs(CALIBRATION_SEED, first, min(rows, CALIBRATION_NOISES - first))
        for first in range(0, CALIBRATION_NOISES, rows)
    ]
    quantized = quantize(model, calibration, close)
    return replace(_checked("int8", _parsed(quantized.model), facts, expected, subject, teacher), quantized=quantized)


def allowed_distance(fd: float) -> float:
    """Returns the largest distance to the teacher of a network in int8, from that of the one in float32."""
    return fd + max(DISTANCE_SHARE * fd, DISTANCE_MARGIN)


def distance_of(run: Run, subject: Subject, teacher: TeacherAtHand | None) -> ImageDistance | None:
    """Measures how far a network's images are from the teacher's; None without a teacher."""
    if teacher is None:
        return None

    def images(noise: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(run({NOISE: noise, **subject.told(condition)})[0])

    return teacher.distance(images)


def _teacher(subject: Subject, spec: ExportSpec) -> TeacherAtHand | None:
    if spec.teacher is None:
        return None
    return teacher_at_hand(
        spec.teacher,
        subject.student,
        student_weights=subject.folder,
        references=spec.references,
        features=spec.features,
        weights=spec.weights,
        samples=spec.samples,
    )


def _parsed(content: bytes) -> "ModelProto":
    from onnx import load_from_string

    return load_from_string(content)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
