"""The extractor `inception`: the features of FID proper, with the weights that pytorch-fid and torch-fidelity use.

Images are rounded to whole numbers of [0, 255], as torch-fidelity takes pictures, and resized as TensorFlow 1 does.
"""

from torch import Tensor

from advkd.features.base import Asked, InputRule
from advkd.features.extractor import FeatureExtractor
from advkd.features.inception_network import DIMS, SIZE, Inception
from advkd.features.pictures import as_rgb, whole_numbers
from advkd.features.weights import PublishedWeights, read_tensors, with_weights

INCEPTION = "inception"
RULE = InputRule(
    channels=3,
    size=SIZE,
    resizing="bilinear as in TensorFlow 1, not antialiased",
    values="[0, 255] rounded to whole numbers, then (x - 128) / 128",
)
WEIGHTS = PublishedWeights(
    extractor=INCEPTION,
    names=("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    megabytes=96,
)
_BATCH = 32


def inception_extractor(asked: Asked) -> FeatureExtractor:
    """Returns the extractor.

    Raises:
        FeatureError: its weights are not there, or others.
    """
    file = WEIGHTS.file(asked.weights)
    network = with_weights(Inception(), read_tensors(file), file).to(asked.device)

    def features(images: Tensor) -> Tensor:
        return network(as_rgb(whole_numbers(images)))  # type: ignore[no-any-return]

    return FeatureExtractor(INCEPTION, WEIGHTS.sha256, DIMS, features, rule=RULE, device=asked.device, batch=_BATCH)
