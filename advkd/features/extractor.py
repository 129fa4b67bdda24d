"""An extractor made of a function or a frozen network: what most rows of the table are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.features.base import InputRule, Reader
from advkd.features.pictures import require_images

BATCH = 256
AS_THEY_ARE = InputRule()


@dataclass(frozen=True)
class FeatureExtractor:
    """An extractor with a frozen network.

    Attributes:
        name: see `Extractor`.
        sha256: see `Extractor`.
        dims: see `Extractor`.
        network: maps `[B, C, H, W]` in [-1, 1] on `device` to `[B, dims]`; it follows the rule by itself.
        shape: shape `[C, H, W]` of the images that the network takes; None: any that the rule takes.
        reader: classifier that reads the features, if there is one.
        rule: see `Extractor`.
        device: where the network computes.
        batch: images that it takes at once.
    """

    name: str
    sha256: str
    dims: int
    network: Callable[[Tensor], Tensor]
    shape: tuple[int, ...] | None = None
    reader: Reader | None = None
    rule: InputRule = AS_THEY_ARE
    device: str = "cpu"
    batch: int = BATCH

    def accepts(self, shape: Sequence[int]) -> bool:
        """Returns whether the extractor takes images `[C, H, W]` of this shape; an RGB one takes grey images too."""
        if self.shape is not None:
            return tuple(shape) == self.shape
        return self.rule.channels is None or shape[0] in {self.rule.channels, 1 if self.rule.channels == 3 else -1}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Computes the features of images `[B, C, H, W]` in batches: float32 `[B, dims]` on the CPU.

        Raises:
            FeatureError: they are whole numbers, as pixels of [0, 255] are.
        """
        require_images(images)
        batches = torch.split(images.detach().cpu().float(), self.batch)
        return torch.cat([self.network(part.contiguous().to(self.device)).float().cpu() for part in batches])
