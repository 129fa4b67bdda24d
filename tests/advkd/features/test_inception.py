"""FID's network: torch-fidelity's own on random weights where it is at hand, and its refusals.

torch-fidelity asks for torchvision and installs a package `tests`, so it is not among what development needs. Where the
variable TORCH_FIDELITY names a folder with its package, the network is held against it.
"""

import importlib
import os
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

import advkd.features.inception as module
from advkd.features import FeatureError, chosen_features
from advkd.features.inception import WEIGHTS, inception_extractor
from advkd.features.inception_network import DIMS, Inception
from advkd.features.pictures import whole_numbers
from tests.advkd.features.parts import asked, noise_images


def random_network() -> Inception:
    """Statistics such that activations neither die nor explode."""
    torch.manual_seed(0)
    network = Inception()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.8, 1.6)
            nn.init.uniform_(part.bias, -0.2, 0.5)
            nn.init.uniform_(part.running_mean, -0.1, 0.1)
            nn.init.uniform_(part.running_var, 0.1, 0.5)
    return network.eval().requires_grad_(False)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Random weights in place of the published ones, which cannot be fetched here."""
    from dataclasses import replace

    from advkd.files import file_sha256

    file = tmp_path / "weights.pth"
    torch.save(random_network().state_dict(), file)
    monkeypatch.setattr(module, "WEIGHTS", replace(WEIGHTS, sha256=file_sha256(file)))
    return file


def test_its_layers_are_those_of_the_published_weights() -> None:
    """Names and shapes of pytorch-fid's file: 94 convolutions with BatchNorm, and 1008 classes."""
    shapes = {name: tuple(value.shape) for name, value in Inception().state_dict().items()}
    assert sum(name.endswith("conv.weight") for name in shapes) == 94
    assert shapes["fc.weight"] == (1008, 2048)
    assert shapes["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    assert shapes["Mixed_6e.branch7x7dbl_5.conv.weight"] == (192, 192, 1, 7)
    assert sum(torch.Size(shape).numel() for name, shape in shapes.items() if "tracked" not in name) == 23_885_392


@pytest.mark.thorough
def test_its_features_are_those_of_whole_numbers(weights: Path) -> None:
    extractor, images = inception_extractor(asked(weights=str(weights))), noise_images(2, 3, 20, 24)
    assert (extractor.name, extractor.dims, len(extractor.sha256)) == ("inception", DIMS, 64)
    features = extractor(images)
    assert features.shape == (2, DIMS)
    rounded = whole_numbers(images).float() / 127.5 - 1
    torch.testing.assert_close(extractor(rounded), features, rtol=0, atol=1e-5)
    grey = images[:, :1]
    torch.testing.assert_close(extractor(grey), extractor(grey.expand(-1, 3, -1, -1)), rtol=0, atol=1e-5)
    assert (extractor(images.clamp(-1, 0.9)) - features).abs().max() > 1e-3


@pytest.mark.thorough
@pytest.mark.parametrize("size", [32, 350])
def test_torch_fidelity_s_own_network_gives_the_same(size: int, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = os.environ.get("TORCH_FIDELITY")
    if not place:
        pytest.skip("TORCH_FIDELITY names no folder with the package")
    monkeypatch.syspath_prepend(place)
    # Its package imports VGG for another metric.
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    for name in ("torchvision.transforms", "torchvision.transforms.functional", "torchvision.datasets"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    package = types.ModuleType("torch_fidelity")
    package.__path__ = [str(Path(place) / "torch_fidelity")]
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    theirs = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=str(weights)
    )
    images = noise_images(3, 3, size, size)
    (expected,) = theirs(whole_numbers(images))
    features = inception_extractor(asked(weights=str(weights)))(images)
    assert float(expected.std(0).mean()) > 1e-3
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_what_its_weights_are_is_said_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("ADVKD_FETCH_WEIGHTS", raising=False)
    teacher = asked().teacher
    with pytest.raises(
        FeatureError, match=r"needs the weights pt_inception-2015-12-05-6726825d\.pth \(96 MB, sha256 6726825d"
    ):
        chosen_features("inception", teacher)
    (tmp_path / "mine.pth").write_bytes(b"others")
    with pytest.raises(
        FeatureError, match=r"'inception' must have the sha256 6726825d0af5, got \w{12} for .*mine\.pth; get"
    ):
        chosen_features("inception", teacher, weights=str(tmp_path / "mine.pth"))
