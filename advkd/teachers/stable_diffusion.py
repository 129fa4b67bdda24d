"""The family of `StableDiffusionPipeline`: a UNet that attends to CLIP's tokens (https://arxiv.org/abs/2112.10752)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from advkd.diffusion import POOLED, TOKENS
from advkd.teachers.errors import TeacherError
from advkd.teachers.text import Embedded, TextFamily, TextTeacher
from advkd.teachers.text_folder import CLIP_TOKENIZERS, TextParts, encoder_number, token_limit

_PLAIN = ("class_embed_type", "num_class_embeds", "addition_embed_type", "time_cond_proj_dim", "encoder_hid_dim_type")


class StableDiffusionTeacher(TextTeacher):
    """A `Teacher` that runs the `UNet2DConditionModel` of a `StableDiffusionPipeline`."""

    def default_shape(self) -> tuple[int, int, int]:
        """See `TextTeacher.default_shape`."""
        size = self.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return self.config.in_channels, height, width

    def forward(self, state: Tensor, time: Tensor, text: Embedded) -> Tensor:
        """See `TextTeacher.forward`."""
        return self.network(state, time, encoder_hidden_states=text[TOKENS]).sample  # type: ignore[no-any-return]

    def completed(self, scheduler: dict[str, Any]) -> dict[str, Any]:
        """See `TextTeacher.completed`: the pipeline never clips, whatever an old config or its class says."""
        return scheduler | {"clip_sample": False} if scheduler["_class_name"] in _CLIPPING else scheduler


_CLIPPING = ("DDIMScheduler", "DDPMScheduler")


def _check(config: Mapping[str, Any], folder: Path) -> None:
    told = {name: config[name] for name in _PLAIN if config.get(name) is not None}
    if told or config.get("in_channels") != config.get("out_channels"):
        raise TeacherError(
            f"the UNet of a StableDiffusionPipeline must take a state, a time and a prompt alone, and give as many "
            f"channels as it takes, got {told or {k: config.get(k) for k in ('in_channels', 'out_channels')}} in "
            f"{folder}; choose another teacher"
        )
    if config.get("sample_size") is None:
        raise TeacherError(
            f"a teacher must say the size of its states, got sample_size null in {folder / 'config.json'}; write the "
            "size of the training latents there, such as 64"
        )


def _shapes(folder: Path, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, takes = encoder_number(folder, "text_encoder", "hidden_size"), config.get("cross_attention_dim")
    if takes != hidden:
        raise TeacherError(
            f"a UNet must attend to what its text encoder gives, got cross_attention_dim {takes!r} for hidden_size "
            f"{hidden} in {folder}; save the pipeline with its own text encoder"
        )
    return {TOKENS: (token_limit(folder, "tokenizer"), hidden), POOLED: (hidden,)}


STABLE_DIFFUSION = TextFamily(
    pipeline="StableDiffusionPipeline",
    network="unet",
    classes=("UNet2DConditionModel",),
    text=TextParts(encoders={"text_encoder": ("CLIPTextModel",)}, tokenizers={"tokenizer": CLIP_TOKENIZERS}),
    teacher=StableDiffusionTeacher,
    shapes=_shapes,
    check_network=_check,
    # A UNet halves its states at each of its levels but the last.
    multiple=lambda config: 2 ** (len(config["block_out_channels"]) - 1),
)
"""The row of `StableDiffusionPipeline` in `TEACHERS`."""
