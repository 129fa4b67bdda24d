"""The extractors `dinov2` and `clip`: transformers' models, with the image processing that they state themselves.

FD-DINOv2: Stein et al. 2023, https://arxiv.org/abs/2306.04675. CMMD: Jayasumana et al. 2024,
https://arxiv.org/abs/2401.09603. Needs the extra `advkd[text]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advkd.features.base import Asked
from advkd.features.errors import FeatureError
from advkd.features.extractor import FeatureExtractor
from advkd.features.hub_models import HubModel
from advkd.features.processing import Processing

DINOV2, CLIP = "dinov2", "clip"
DINOV2_MODEL = HubModel(
    extractor=DINOV2,
    hub_id="facebook/dinov2-large",
    kinds={"dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel"},
)
CLIP_MODEL = HubModel(extractor=CLIP, hub_id="openai/clip-vit-large-patch14-336", kinds={"clip": "CLIPModel"})
_BATCH = 32
_TEXTS = 64


def dinov2_extractor(asked: Asked) -> FeatureExtractor:
    """Returns the extractor of the class token after the last normalisation, as FD-DINOv2 takes it.

    Raises:
        FeatureError: transformers or the model is not there, or another one.
    """
    folder = DINOV2_MODEL.folder(asked.weights)
    processing, network = Processing.of(folder), DINOV2_MODEL.load(folder).to(asked.device)

    def features(images: Tensor) -> Tensor:
        return network(processing(images)).pooler_output  # type: ignore[no-any-return]

    return FeatureExtractor(
        DINOV2,
        DINOV2_MODEL.sha256(folder),
        int(network.config.hidden_size),
        features,
        rule=processing.rule,
        device=asked.device,
        batch=_BATCH,
    )


def clip_extractor(asked: Asked) -> "ClipExtractor":
    """Returns the extractor of image embeddings, which has features of texts too.

    Raises:
        FeatureError: transformers or the model is not there, or another one.
    """
    folder = CLIP_MODEL.folder(asked.weights)
    processing, network = Processing.of(folder), CLIP_MODEL.load(folder).to(asked.device)

    def features(images: Tensor) -> Tensor:
        seen = network.vision_model(pixel_values=processing(images)).pooler_output
        return network.visual_projection(seen)  # type: ignore[no-any-return]

    return ClipExtractor(
        CLIP,
        CLIP_MODEL.sha256(folder),
        int(network.config.projection_dim),
        features,
        rule=processing.rule,
        device=asked.device,
        batch=_BATCH,
        model=network,
        folder=folder,
    )


@dataclass(frozen=True)
class ClipExtractor(FeatureExtractor):
    """A `FeatureExtractor` and `TextExtractor`.

    Attributes:
        model: the whole model.
        folder: where its tokenizer is.
    """

    model: Any = field(default=None, repr=False)
    folder: Path = Path()

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """See `TextExtractor.text_features`; longer texts are cut at the model's number of tokens."""
        parts = []
        for first in range(0, len(prompts), _TEXTS):
            tokens = self._tokenizer(
                list(prompts[first : first + _TEXTS]),
                padding="max_length",
                truncation=True,
                max_length=int(self.model.config.text_config.max_position_embeddings),
                return_tensors="pt",
            ).to(self.device)
            told = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
            parts.append(self.model.text_projection(told.pooler_output).float().cpu())
        return torch.cat(parts) if parts else torch.zeros(0, self.dims)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        try:
            return CLIPTokenizer.from_pretrained(self.folder, local_files_only=True)
        except (OSError, ValueError, TypeError) as error:
            raise FeatureError(
                f"features of texts need the tokenizer of {CLIP!r}, got {type(error).__name__} in {self.folder}; save "
                "it beside the model"
            ) from error
