"""The network of FID: Inception v3 as TensorFlow's graph of 2015-12-05 has it, up to its 2048 pooled features.

Szegedy et al. 2015, https://arxiv.org/abs/1512.00567. Names are torchvision's, so that the weights of pytorch-fid and
torch-fidelity fit. It differs from torchvision's in three places: average pooling does not count padding, the last
block pools by maximum, and there are 1008 classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from advkd.features.pictures import tf_bilinear

SIZE, DIMS, CLASSES = 299, 2048, 1008
Size = int | tuple[int, int]


class Convolution(nn.Module):
    """A convolution, BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int, size: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, images: Tensor) -> Tensor:
        """Returns activations."""
        return functional.relu(self.bn(self.conv(images)), inplace=True)


def _average(images: Tensor) -> Tensor:
    return functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """35x35: branches of 1x1, 5x5 and two 3x3."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 64, 1)
        self.branch5x5_1 = Convolution(inputs, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(inputs, pooled, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Returns activations."""
        fives = self.branch5x5_2(self.branch5x5_1(images))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(images)))
        return torch.cat([self.branch1x1(images), fives, threes, self.branch_pool(_average(images))], 1)


class BlockB(nn.Module):
    """35x35 to 17x17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Returns activations."""
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(images)))
        return torch.cat([self.branch3x3(images), threes, functional.max_pool2d(images, 3, stride=2)], 1)


class BlockC(nn.Module):
    """17x17: 7x7 in two factors, once and twice."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        flat, tall = (0, 3), (3, 0)
        self.branch1x1 = Convolution(inputs, 192, 1)
        self.branch7x7_1 = Convolution(inputs, inner, 1)
        self.branch7x7_2 = Convolution(inner, inner, (1, 7), padding=flat)
        self.branch7x7_3 = Convolution(inner, 192, (7, 1), padding=tall)
        self.branch7x7dbl_1 = Convolution(inputs, inner, 1)
        self.branch7x7dbl_2 = Convolution(inner, inner, (7, 1), padding=tall)
        self.branch7x7dbl_3 = Convolution(inner, inner, (1, 7), padding=flat)
        self.branch7x7dbl_4 = Convolution(inner, inner, (7, 1), padding=tall)
        self.branch7x7dbl_5 = Convolution(inner, 192, (1, 7), padding=flat)
        self.branch_pool = Convolution(inputs, 192, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Returns activations."""
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(images)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(images)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(images), once, twice, self.branch_pool(_average(images))], 1)


class BlockD(nn.Module):
    """17x17 to 8x8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(inputs, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(inputs, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Returns activations."""
        sevens = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(images))))
        threes = self.branch3x3_2(self.branch3x3_1(images))
        return torch.cat([threes, sevens, functional.max_pool2d(images, 3, stride=2)], 1)


class BlockE(nn.Module):
    """8x8; the second of the two pools by maximum."""

    def __init__(self, inputs: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = Convolution(inputs, 320, 1)
        self.branch3x3_1 = Convolution(inputs, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Convolution(inputs, 192, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Returns activations."""
        once = self.branch3x3_1(images)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(images))
        pooled = functional.max_pool2d(images, 3, stride=1, padding=1) if self.maximum else _average(images)
        branches = [
            self.branch1x1(images),
            *(self.branch3x3_2a(once), self.branch3x3_2b(once)),
            *(self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)),
            self.branch_pool(pooled),
        ]
        return torch.cat(branches, 1)


class Inception(nn.Module):
    """Maps RGB pixels, uint8 `[B, 3, H, W]`, to 2048 features."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, maximum=False), BlockE(2048, maximum=True)
        # Not used: published weights hold it.
        self.fc = nn.Linear(DIMS, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns features, float32 `[B, 2048]`."""
        images = (tf_bilinear(pixels.float(), SIZE) - 128.0) / 128.0
        images = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        images = functional.max_pool2d(images, 3, stride=2)
        images = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(images)), 3, stride=2)
        images = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(images))))
        images = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(images))))
        images = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(images)))
        pooled: Tensor = images.mean((2, 3))
        return pooled
