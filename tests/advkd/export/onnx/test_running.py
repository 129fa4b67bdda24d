"""What travels with an export: runs without torch and us, draws what we draw, refuses what it cannot run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from advkd.export import ExportSpec, export_student
from advkd.export.onnx import running
from advkd.students import load_student
from storage.records import condition_generator, initial_noise
from tests.advkd.export.onnx.subjects import save_layerwise

# A fresh environment: nothing can be imported but what Python, numpy and onnxruntime bring.
FRESH = """
import sys
for name in ("torch", "diffusers", "advkd", "storage", "flows", "safetensors", "scipy", "PIL", "onnx", "onnxscript"):
    sys.modules[name] = None
"""
SAVE = """
import numpy as np
np.save("images.npy", images)
"""


@pytest.fixture
def export(labelled: Path) -> Path:
    return labelled / "out"


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_noises_and_labels_are_drawn_as_in_a_store_bit_for_bit(seed: int) -> None:
    assert np.array_equal(running.noise(seed, 5, 9, (3, 4, 5)), initial_noise(seed, 5, 14, (3, 4, 5)))
    for index in (0, 1, 2**40):
        assert running._each(None, 0, seed, index, 1000) == int(condition_generator(seed, index).integers(1000))


@pytest.mark.thorough
def test_the_snippet_of_the_card_runs_where_nothing_else_is_installed(export: Path, tmp_path: Path) -> None:
    shutil.copytree(export, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    snippet = card.partition("```python\n")[2].partition("```")[0]
    code = FRESH + snippet + SAVE
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "0.png").read_bytes().startswith(b"\x89PNG")
    student = load_student(export.parent / "student")
    import torch

    expected = student.sample(4, seed=0, class_labels=torch.zeros(4, dtype=torch.int64)).images
    images = np.load(tmp_path / "out" / "images.npy")
    np.testing.assert_allclose(images, (expected / 2 + 0.5).clamp(0, 1).numpy(), rtol=0, atol=1e-5)


@pytest.mark.thorough
def test_a_png_is_the_image(export: Path, tmp_path: Path) -> None:
    from PIL import Image

    image = np.linspace(0, 1, 3 * 4 * 6, dtype=np.float32).reshape(3, 4, 6)
    (tmp_path / "a.png").write_bytes(running.png(image))
    read = np.asarray(Image.open(tmp_path / "a.png"))
    assert np.array_equal(read, running.pixels(image[None])[0])


@pytest.mark.thorough
def test_what_cannot_be_made_is_refused(export: Path) -> None:
    student = running.Student(export)
    for wrong, said in (
        ({"n": 0}, "must be at least 1, got 0 and 64"),
        ({"batch_size": 0}, "must be at least 1, got 1 and 0"),
        ({"seed": -1}, r"a seed must lie in \[0, 2\*\*63\)"),
        ({"prompt": "a cat"}, "this student takes labels, got a label or a prompt"),
    ):
        with pytest.raises(ValueError, match=said):
            student.images(**wrong)
    labels = np.zeros(2, np.int64)
    for noise in (np.zeros((0, 1, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32), np.zeros((2, 1, 8, 8))):
        with pytest.raises(ValueError, match=r"noise must be float32 \[B, 1, 8, 8\], B at least 1 .* got float"):
            student.run(noise, class_labels=labels)
    with pytest.raises(ValueError, match="this student takes noise, class_labels, got noise; give these"):
        student.run(np.zeros((2, 1, 8, 8), np.float32))
    with pytest.raises(running.ExportedStudentError, match="must be one of fp32, got 'int8'"):
        running.Student(export, "int8")


@pytest.mark.thorough
def test_a_truncated_a_foreign_and_a_newer_file_are_refused(export: Path, tmp_path: Path) -> None:
    import onnx

    with pytest.raises(running.ExportedStudentError, match=r"is a folder with metadata.json, got FileNotFoundError"):
        running.Student(tmp_path)
    folder = tmp_path / "out"
    shutil.copytree(export, folder)
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[:-100])
    with pytest.raises(running.ExportedStudentError, match=r"got \d+ bytes of another one in .*; copy the"):
        running.Student(folder)
    metadata = json.loads((folder / "metadata.json").read_text())

    def noted(content: bytes, **changes: object) -> None:
        (folder / "model.onnx").write_bytes(content)
        metadata["models"]["fp32"]["sha256"] = running.hashlib.sha256(content).hexdigest()
        (folder / "metadata.json").write_text(json.dumps({**metadata, **changes}))

    model = onnx.load_from_string(whole)
    model.opset_import[0].version = 999
    noted(model.SerializeToString(), opset=999)
    with pytest.raises(running.ExportedStudentError, match=r"must be one that ONNX Runtime .* runs, got opset 999"):
        running.Student(folder)
    noted(b"no model")
    with pytest.raises(running.ExportedStudentError, match="must be one that ONNX Runtime"):
        running.Student(folder)
    noted(whole, format="advkd-onnx-99")
    with pytest.raises(running.ExportedStudentError, match="must be of the format advkd-onnx-1, got 'advkd-onnx-99'"):
        running.Student(folder)
    (folder / "model.onnx").unlink()
    noted(whole)
    (folder / "model.onnx").unlink()
    with pytest.raises(running.ExportedStudentError, match="must hold its networks, got FileNotFoundError"):
        running.Student(folder)


def test_settings_of_an_export_that_cannot_be(tmp_path: Path) -> None:
    for wrong, said in (
        ({"precisions": ()}, "must be some of fp32, fp16, int8, each once, got none"),
        ({"precisions": ("fp64",)}, "each once, got fp64"),
        ({"noises": 1}, "noises must be at least 2, got 1"),
        ({"seconds": -1.0}, "must not be negative"),
    ):
        with pytest.raises(ValueError, match=said):
            ExportSpec(student="a", out="b", **wrong)
    for wrong, said in (
        ({"format": "diffusers", "precisions": ("int8",)}, "of the format 'diffusers' must be one of fp32, got int8"),
        ({"format": "diffusers", "states": True}, "--states is for formats whose outputs are fixed"),
        ({"format": "tflite"}, "must be one of"),
    ):
        save_layerwise(tmp_path / "student")
        with pytest.raises(ValueError, match=said):
            export_student(ExportSpec(student=str(tmp_path / "student"), out=str(tmp_path / "out"), **wrong))
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
