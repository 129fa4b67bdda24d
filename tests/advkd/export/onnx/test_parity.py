"""Every kind of student, exported and compared with torch by what travels with the export."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from advkd.diffusion import decoded, space_of
from advkd.export import ExportError, ExportSpec, ParityError, export_student
from advkd.export.onnx import parity, writing
from advkd.export.onnx.running import Student
from advkd.networks import decoder_places, load_embeddings
from advkd.students import load_student
from tests.advkd.export.onnx.subjects import (
    TEXTS,
    save_latent,
    save_layerwise,
    save_levels,
    save_progressive,
    save_prompted,
)

pytestmark = pytest.mark.thorough
QUICK = {"noises": 6, "seconds": 0.0, "memory": False}


def exported(folder: Path, out: Path, **changes: object) -> Student:
    export_student(ExportSpec(student=str(folder), out=str(out), **(QUICK | changes)))
    return Student(out, threads=1)


def as_images(states: torch.Tensor) -> np.ndarray:
    return (states / 2 + 0.5).clamp(0, 1).numpy()


@pytest.mark.parametrize("save", [save_layerwise, save_levels, save_progressive])
def test_images_and_states_are_those_of_torch(save: Callable[[Path], Path], tmp_path: Path) -> None:
    student = load_student(save(tmp_path / "student"))
    ours = exported(tmp_path / "student", tmp_path / "out", states=True)
    sampled = student.sample(5, seed=7, states=True)
    np.testing.assert_allclose(ours.images(5, seed=7), as_images(sampled.images), rtol=0, atol=1e-5)
    outputs = ours.run(torch.from_numpy(np.stack([student_noise(ours, i) for i in range(5)])).numpy())
    assert list(outputs) == ["images", "state_1", "state_2", "state_3"]
    for k, state in enumerate(sampled.states, 1):
        np.testing.assert_allclose(outputs[f"state_{k}"], state.numpy(), rtol=0, atol=1e-4)
    noted = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert [entry.get("timestep") for entry in noted["outputs"]] == [None, 799, 399, 0]


def student_noise(student: Student, index: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=[7, 2 * index]))
    return generator.standard_normal(student.shape, dtype=np.float32)


def test_labels_are_an_input_and_drawn_as_by_sample(labelled: Path) -> None:
    student = load_student(labelled / "student")
    ours = Student(labelled / "out", threads=1)
    labels = torch.tensor([2, 0, 1])
    expected = as_images(student.sample(3, seed=4, class_labels=labels).images)
    np.testing.assert_allclose(ours.images(3, seed=4, label=["fox", 0, "dog"]), expected, rtol=0, atol=1e-5)
    streams = [np.random.Philox(key=[4, 2 * i], counter=[0, 0, 0, 1]) for i in range(3)]
    drawn = [int(np.random.Generator(stream).integers(3)) for stream in streams]
    assert np.array_equal(ours.images(3, seed=4), ours.images(3, seed=4, label=drawn))
    for wrong, said in (("owl", "must be one of cat, dog, fox, got 'owl'"), (3, "got 3"), ([0], "as many as images")):
        with pytest.raises(ValueError, match=said):
            ours.images(3, label=wrong)
    noise = np.zeros((2, 1, 8, 8), np.float32)
    for labels, said in (([-1, 0], r"must lie in \[0, 2\]"), ([0], "class_labels must be int64")):
        with pytest.raises(ValueError, match=said):
            ours.run(noise, class_labels=np.array(labels))


def test_latents_are_decoded_within_the_network(tmp_path: Path) -> None:
    student = load_student(save_latent(tmp_path / "student"))
    ours = exported(tmp_path / "student", tmp_path / "out", precisions=("fp32", "fp16"))
    space = space_of(student.config["space"], student.sample_shape, decoder_places(tmp_path / "student"))
    expected = as_images(decoded(space, student.sample(4, seed=1).images))
    assert expected.shape == (4, 3, 16, 16)
    np.testing.assert_allclose(ours.images(4, seed=1), expected, rtol=0, atol=1e-5)
    half = Student(tmp_path / "out", "fp16")
    np.testing.assert_allclose(half.images(4, seed=1), expected, rtol=0, atol=1e-2)
    sizes = [(tmp_path / "out" / name).stat().st_size for name in ("model_fp16.onnx", "model.onnx")]
    assert sizes[0] < 0.7 * sizes[1]


def test_prompts_travel_as_embeddings(tmp_path: Path) -> None:
    student = load_student(save_prompted(tmp_path / "student"))
    ours = exported(tmp_path / "student", tmp_path / "out")
    table = load_embeddings(tmp_path / "student" / "prompts", student.config["conditioning"])
    texts = [TEXTS[2], "", TEXTS[0]]
    expected = as_images(student.sample(3, seed=4, **table.embed(texts)).images)
    np.testing.assert_allclose(ours.images(3, seed=4, prompt=texts), expected, rtol=0, atol=1e-5)
    assert ours.images(2, seed=4).shape == (2, 1, 8, 8)
    with pytest.raises(ValueError, match="must be one of the 3 that are stored, got 'green'"):
        ours.images(1, prompt="green")


def test_int8_is_smaller_and_close_and_says_how_it_was_made(tmp_path: Path) -> None:
    save_layerwise(tmp_path / "student", (1, 16, 16), width=32)
    exact = exported(tmp_path / "student", tmp_path / "out", precisions=("fp32", "int8"))
    eight = Student(tmp_path / "out", "int8")
    assert eight.precision == "int8"
    difference = eight.images(64, seed=9) - exact.images(64, seed=9)
    assert 0 < np.sqrt(np.square(difference).mean()) <= parity.INT8_RMSE
    sizes = {name: (tmp_path / "out" / name).stat().st_size for name in ("model.onnx", "model_int8.onnx")}
    assert sizes["model_int8.onnx"] <= 0.33 * sizes["model.onnx"]
    noted = json.loads((tmp_path / "out" / "metadata.json").read_text())["models"]["int8"]
    assert noted["quantized"]["layers"] == 8
    assert noted["distance_to_teacher"] is None


def test_the_model_itself_says_what_it_is(labelled: Path) -> None:
    session = onnxruntime.InferenceSession(labelled / "out" / "model.onnx")
    noted = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    facts = json.loads((labelled / "out" / "metadata.json").read_text())
    assert noted.pop("advkd.precision") == "fp32"
    measured = ("models", "refused", "asked_for_teacher")
    assert noted == {f"advkd.{key}": value for key, value in facts.items() if key not in measured}
    assert facts["condition"]["names"] == ["cat", "dog", "fox"]
    assert facts["seeding"]["noise"].startswith("numpy.random.Generator(Philox(key=[seed, 2 * i]))")
    assert facts["inputs"][1]["range"] == "whole numbers from 0 to 2"
    text = (labelled / "out" / "model.onnx").read_bytes()
    for path in (str(Path.cwd()), str(Path.home()), str(labelled)):
        assert path.encode() not in text


def test_what_fails_its_parity_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_layerwise(tmp_path / "student")
    monkeypatch.setattr(parity, "LARGEST", {"fp32": 1e-12})
    with pytest.raises(ParityError, match=r"in fp32 must be within 1e-12 of torch on 6 noises, got .* not written"):
        exported(tmp_path / "student", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_student_with_nan_is_refused(tmp_path: Path) -> None:
    student = load_student(save_layerwise(tmp_path / "student"))
    student.heads[-1].conv.bias.data[0] = torch.nan
    student.save_pretrained(tmp_path / "student")
    with pytest.raises(ParityError, match="must be finite to be exported, got NaN"):
        exported(tmp_path / "student", tmp_path / "out")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = writing.require_packages.__globals__["importlib"].util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "onnx" else find(name, *rest))
    with pytest.raises(ExportError, match=r"needs the package onnx, got no such package; .*pip install onnx"):
        exported(save_layerwise(tmp_path / "student"), tmp_path / "out")
