"""Extractors of one's own: a file with what it takes beside it, or a factory; nothing about them is guessed."""

import importlib.util
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advkd.evaluation.spec import EvaluateSpec
from advkd.features import FeatureError, InputRule, chosen_features
from advkd.features.pictures import pil_resized, tf_bilinear, whole_numbers
from tests.advkd.features.onnx_files import save_mean_network
from tests.advkd.features.parts import asked, noise_images

DECLARED = {"channels": 3, "size": 8, "resizing": "pil-bicubic", "values": [0, 1]}


class Means(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class Maps(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


class Narrow(nn.Module):
    """Takes one channel alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).mean((2, 3))  # type: ignore[no-any-return]


def scripted(folder: Path, network: nn.Module | None = None, **declared: object) -> Path:
    file = folder / "mine.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(network or Means()), file)  # type: ignore[no-untyped-call]
    (folder / "mine.pt.json").write_text(json.dumps(DECLARED | declared))
    return file


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_a_file_gives_its_network_s_features_of_what_was_declared(form: str, tmp_path: Path) -> None:
    file = scripted(tmp_path) if form == "torchscript" else save_mean_network(tmp_path / "mine.onnx", 3, 8)
    file.with_name(f"{file.name}.json").write_text(json.dumps(DECLARED))
    (extractor,) = chosen_features(str(file), asked().teacher)
    images = noise_images(5, 3, 16, 16)
    expected = pil_resized(whole_numbers(images), (8, 8)).float().mean((2, 3)) / 255
    torch.testing.assert_close(extractor(images), expected, rtol=0, atol=1e-5)
    assert (extractor.name, extractor.dims) == ("mine", 3)
    assert extractor.rule.words == (
        "RGB (grey images repeated), 8x8 (PIL, bicubic, antialiased), values [0, 255] rounded to whole numbers, "
        "brought to [0, 1]"
    )
    torch.testing.assert_close(extractor(images[:, :1]), extractor(images[:, [0] * 3]), rtol=0, atol=1e-6)


def test_resizing_and_values_are_as_declared_and_in_the_sha256(tmp_path: Path) -> None:
    images, seen = noise_images(2, 3, 16, 16), {}
    for declared, expected in (
        ({}, pil_resized(whole_numbers(images), (8, 8)).float() / 255),
        ({"resizing": "tf1-bilinear"}, tf_bilinear(whole_numbers(images).float(), 8) / 255),
        ({"size": None, "resizing": "none"}, whole_numbers(images).float() / 255),
        ({"values": [-1, 1]}, pil_resized(whole_numbers(images), (8, 8)).float() / 127.5 - 1),
    ):
        (extractor,) = chosen_features(str(scripted(tmp_path, **declared)), asked().teacher)
        torch.testing.assert_close(extractor(images), expected.mean((2, 3)), rtol=0, atol=1e-5)
        seen[extractor.sha256] = extractor.rule
    assert len(seen) == len(set(seen.values())) == 4


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda file: file.with_name("mine.pt.json").unlink(),
            r"must be declared beside it, got FileNotFoundError for .*json",
        ),
        (lambda file: file.with_name("mine.pt.json").write_text("[]"), r"declared by \['channels', .*got \[\] in"),
        (
            lambda file: file.with_name("mine.pt.json").write_text('{"channels": 3}'),
            "declared by .*got {'channels': 3} in",
        ),
        (lambda file: scripted(file.parent, channels=True), "must be declared as .*, got {'channels': True"),
        (lambda file: scripted(file.parent, size=None), "with resizing none where size is null, got"),
        (
            lambda file: scripted(file.parent, resizing="bicubic"),
            "must be declared as .*pil-bicubic.*'resizing': 'bicubic'",
        ),
        (lambda file: scripted(file.parent, values=[1, 1]), r"must be declared as .*'values': \[1, 1\]"),
        (
            lambda file: torch.save({"a": torch.ones(1)}, file),
            "must be TorchScript, got another in .*other pickles are never",
        ),
        (lambda file: scripted(file.parent, Maps()), r"must give features \[B, D\], got \[2, 3, 8, 8\] for two images"),
        (
            lambda file: scripted(file.parent, Narrow()),
            r"must take what is declared beside it, got \w+ .*; correct the",
        ),
        (lambda file: file.unlink(), r"a network's file must be there, .*got '.*mine\.pt'; correct the path"),
    ],
)
def test_a_file_that_says_too_little_is_refused(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    file = scripted(tmp_path)
    spoil(file)
    with pytest.raises(FeatureError, match=message):
        chosen_features(str(file), asked().teacher)


def test_wrong_channels_are_refused_by_name(tmp_path: Path) -> None:
    file = scripted(tmp_path, Narrow(), channels=1)
    assert chosen_features(str(file), asked(channels=1).teacher)[0].dims == 2
    with pytest.raises(
        FeatureError, match="take the teacher's images, got 'mine' for 3x16x16 of 'gaussian'; name another"
    ):
        chosen_features(str(file), asked().teacher)


def test_an_onnx_file_that_is_none_and_onnxruntime_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(b"none")
    (tmp_path / "mine.onnx.json").write_text(json.dumps(DECLARED))
    with pytest.raises(FeatureError, match=r"must be one that onnxruntime runs, got \w+ for .*mine\.onnx; export it"):
        chosen_features(str(file), asked().teacher)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(FeatureError, match=r"needs the package onnxruntime, .*pip install onnxruntime"):
        chosen_features(str(file), asked().teacher)


FACTORY = """\
from advkd.features import FeatureExtractor, InputRule
def means(asked):
    rule = InputRule(channels=asked.teacher.space.image_shape[0])
    return FeatureExtractor(asked.weights or "means", "a" * 64, 3, lambda images: images.mean((2, 3)), rule=rule)
def nothing(asked):
    return object()
def short(asked):
    return FeatureExtractor("short", "abc", 3, lambda images: images.mean((2, 3)))
number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_extractors.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_extractors", raising=False)
    return "own_extractors"


def test_a_factory_is_called_with_what_is_asked(module: str) -> None:
    EvaluateSpec(student="a", out="b", features=f"{module}:means,digits,some/model.onnx")
    (extractor,) = chosen_features(f"{module}:means", asked().teacher, weights="named")
    assert (extractor.name, extractor.rule) == ("named", InputRule(channels=3))
    images = noise_images(2, 3, 16, 16)
    torch.testing.assert_close(extractor(images), images.mean((2, 3)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("own_extractors:missing", r"importable package.module:factory, got 'own_extractors:missing' \(.*\); install"),
        ("not_there:means", r"importable package.module:factory, got 'not_there:means' \(.*\); install"),
        ("own_extractors:number", "must be called with advkd.features.Asked, got a int at own_extractors:number; name"),
        (
            "own_extractors:nothing",
            "got a object without name, sha256, dims, rule, accepts, .* from own_extractors:nothing",
        ),
        ("own_extractors:short", "sha256 must be 64 hex digits, got 'abc' from own_extractors:short; take it"),
    ],
)
def test_a_factory_that_makes_none_is_refused(place: str, message: str, module: str) -> None:
    with pytest.raises(FeatureError, match=message):
        chosen_features(place, asked().teacher)


def test_no_two_extractors_have_one_name(module: str, tmp_path: Path) -> None:
    file = scripted(tmp_path)
    with pytest.raises(FeatureError, match=r"must have names of their own, .*got 'mine', 'mine'; rename one"):
        chosen_features(f"{file},{module}:means", asked().teacher, weights=f"{module}:means=mine")


def test_weights_of_several_are_named(module: str) -> None:
    teacher = asked(channels=1).teacher
    both = f"{module}:means,digits"
    with pytest.raises(ValueError, match=r"weights of several extractors must be named, .*got 'a' for \[.*'digits'\]"):
        chosen_features(both, teacher, weights="a")
    with pytest.raises(ValueError, match=r"must be named, as in .*, got 'clip=a' for"):
        chosen_features(both, teacher, weights="clip=a")
    assert chosen_features(both, teacher, weights=f"{module}:means=named")[0].name == "named"
    with pytest.raises(FeatureError, match="'digits' ships with its weights, got 'a'; leave them out"):
        chosen_features(both, teacher, weights="digits=a")
