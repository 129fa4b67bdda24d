"""One discriminator for all submodules, conditioned on k, and on class labels or prompts, by projection.

Miyato & Koyama 2018 (https://arxiv.org/abs/1802.05637).

It judges clean-image estimates, not noisy states: their noise is a known function of x_T and only gives cheap cues.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class DiscriminatorSpec:
    """What the discriminator is.

    Attributes:
        kind: a name in `advkd.discriminators.DISCRIMINATORS`.
        width: channels at the finest level; doubled once on the way down.
        patch: side of the pixel block that becomes one position; must divide height and width of the images.
        levels: times that the sides are halved, before features are averaged over positions.
    """

    kind: str = "projection"
    width: int = 32
    patch: int = 2
    levels: int = 2

    def __post_init__(self) -> None:
        for name in ("width", "patch", "levels"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"DiscriminatorSpec.{name} must be positive, got {getattr(self, name)}; use at least 1"
                )


class ProjectionDiscriminator(nn.Module):
    """`D(x, k, y) = psi(phi(x)) + <embedding_k + class_y, phi(x)>` (Eq. 3); without labels y, class_y is absent.

    Of a prompt, `class_y` is a linear map of its pooled embedding, normalised.

    There is no normalisation, as gradient penalties want it.
    """

    per_sample = True
    takes_classes = True
    takes_prompts = True

    def __init__(
        self,
        spec: DiscriminatorSpec,
        shape: Sequence[int],
        submodules: int,
        classes: int | None = None,
        pooled: int | None = None,
    ) -> None:
        """Builds an untrained discriminator of images `[C, H, W]`, together with labels in [0, `classes`) if given.

        `pooled` is the width of the pooled embeddings of prompts, where samples have them.

        Raises:
            ValueError: `spec.patch` does not divide height and width.
        """
        super().__init__()
        channels, height, columns = shape
        if height % spec.patch or columns % spec.patch:
            raise ValueError(
                f"DiscriminatorSpec.patch must divide height and width, got {spec.patch} for {height}x{columns}; "
                "choose a smaller patch"
            )
        width = spec.width
        self.patch = spec.patch
        first = nn.Conv2d(channels * spec.patch**2, width, 3, padding=1)
        layers: list[nn.Module] = [first, nn.LeakyReLU(0.2)]
        for level in range(spec.levels):
            if level > 0:
                layers += [nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.LeakyReLU(0.2)]
            before = width if level == 0 else 2 * width
            layers += [nn.Conv2d(before, 2 * width, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.psi = nn.Linear(2 * width, 1)
        self.embedding = nn.Embedding(submodules, 2 * width)
        nn.init.zeros_(self.embedding.weight)
        if classes is not None:
            self.classes = nn.Embedding(classes, 2 * width)
            nn.init.zeros_(self.classes.weight)
        if pooled is not None:
            self.prompts = nn.Linear(pooled, 2 * width)
            nn.init.zeros_(self.prompts.weight)
            nn.init.zeros_(self.prompts.bias)

    def forward(
        self,
        images: Tensor,
        submodule: Tensor,
        class_labels: Tensor | None = None,
        pooled_projections: Tensor | None = None,
    ) -> Tensor:
        """Returns logits `[B]` of clean estimates.

        Args:
            images: the estimates, `[B, C, H, W]`.
            submodule: whose they are, int64 `[B]`, 0 to K - 1.
            class_labels: of the samples, int64 `[B]`, where it was built for classes.
            pooled_projections: of the samples' prompts, `[B, P]`, where it was built for prompts.
        """
        patches = nn.functional.pixel_unshuffle(images, self.patch)
        features = self.body(patches.contiguous(memory_format=torch.channels_last)).mean((2, 3))
        seen_as = self.embedding(submodule)
        if class_labels is not None:
            seen_as = seen_as + self.classes(class_labels)
        if pooled_projections is not None:
            pooled = nn.functional.layer_norm(pooled_projections, pooled_projections.shape[-1:])
            seen_as = seen_as + self.prompts(pooled)
        return self.psi(features).squeeze(1) + (seen_as * features).sum(1)  # type: ignore[no-any-return]
