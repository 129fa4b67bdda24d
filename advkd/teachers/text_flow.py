"""The families of flow matching transformers with prompts: `StableDiffusion3Pipeline`, `FluxPipeline`, `SanaPipeline`.

One interface: a transformer gives the velocity of latents for a time and a prompt. What differs is below, a class for
each: the form of the latents, of the time, of the prompt, and how the schedule is shifted for the size of the images.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advkd.diffusion import MASK, POOLED, TOKENS
from advkd.teachers.base import SolverSpec
from advkd.teachers.errors import TeacherError
from advkd.teachers.schedulers import FLOW, full_config
from advkd.teachers.text import Embedded, TextFamily, TextTeacher
from advkd.teachers.text_folder import (
    CLIP_TOKENIZERS,
    GEMMA_TOKENIZERS,
    T5_TOKENIZERS,
    TextParts,
    encoder_number,
    token_limit,
)

_T5 = ("T5EncoderModel",)


class StableDiffusion3Teacher(TextTeacher):
    """A `Teacher` that runs an `SD3Transformer2DModel` (https://arxiv.org/abs/2403.03206)."""

    most_shift = 1.16

    def default_shape(self) -> tuple[int, int, int]:
        """See `TextTeacher.default_shape`."""
        return self.config.in_channels, self.config.sample_size, self.config.sample_size

    def forward(self, state: Tensor, time: Tensor, text: Embedded) -> Tensor:
        """See `TextTeacher.forward`."""
        times = time.to(state.device).expand(len(state))
        return self.network(  # type: ignore[no-any-return]
            hidden_states=state, timestep=times, encoder_hidden_states=text[TOKENS], pooled_projections=text[POOLED]
        ).sample

    def completed(self, scheduler: dict[str, Any]) -> dict[str, Any]:
        """See `TextTeacher.completed`: the shift that depends on the images' size, as the pipeline computes it."""
        if not hasattr(self, "space") or not full_config(scheduler).get("use_dynamic_shifting"):
            return scheduler
        return scheduler | {"_mu": self._mu(full_config(scheduler))}

    def _mu(self, config: Mapping[str, Any]) -> float:
        """The line of diffusers' `calculate_shift`, through the number of the transformer's positions."""
        low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        least, most = config.get("base_shift", 0.5), config.get("max_shift", self.most_shift)
        slope = (most - least) / (high - low)
        patch = self.family.multiple(self.config)
        positions = (self.space.shape[1] // patch) * (self.space.shape[2] // patch)
        return float(positions * slope + (least - slope * low))


class FluxTeacher(StableDiffusion3Teacher):
    """A `Teacher` that runs a `FluxTransformer2DModel` (https://github.com/black-forest-labs/flux).

    Its states are latents; the transformer sees blocks of 2x2 of them. Guidance is a number that it was trained to take
    (`guidance_embeds`): one pass, and 1 where none is said.
    """

    most_shift = 1.15

    def default_shape(self) -> tuple[int, int, int]:
        """See `TextTeacher.default_shape`; the pipeline's own size, as the transformer's config says none."""
        return self.config.in_channels // 4, 128, 128

    def completed(self, scheduler: dict[str, Any]) -> dict[str, Any]:
        """See `TextTeacher.completed`: the pipeline spaces its times evenly before they are shifted."""
        return super().completed(scheduler) | {"_even": True}

    def predict(self, state: Tensor, time: Tensor, condition: Embedded) -> Tensor:
        """See `NetworkTeacher.predict`."""
        return self.forward(state, time, condition)

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """See `TextTeacher.solver_config`; its guidance takes no second pass."""
        config = super().solver_config(solver)
        scale = config.pop("guidance_scale", None)
        return config if scale is None else config | {"embedded_guidance": scale}

    def guided(self, scale: float) -> TextTeacher:
        """See `TextTeacher.guided`; raises `TeacherError` for a transformer that takes no guidance."""
        if not self.config.guidance_embeds:
            raise TeacherError(
                f"guidance is for a Flux transformer that was trained to take it (guidance_embeds), got {scale:g} for "
                f"{self.name!r}; leave it out"
            )
        return super().guided(scale)

    def forward(self, state: Tensor, time: Tensor, text: Embedded) -> Tensor:
        """See `TextTeacher.forward`."""
        count, channels, height, width = state.shape
        rows, columns = height // 2, width // 2
        packed = state.reshape(count, channels, rows, 2, columns, 2).permute(0, 2, 4, 1, 3, 5)
        grid = torch.zeros(rows, columns, 3, device=state.device)
        grid[..., 1] += torch.arange(rows, device=state.device)[:, None]
        grid[..., 2] += torch.arange(columns, device=state.device)[None]
        taken = self.config.guidance_embeds
        velocity = self.network(
            hidden_states=packed.reshape(count, rows * columns, 4 * channels),
            timestep=time.to(state.device).expand(count) / 1000,
            guidance=torch.full((count,), float(self.guidance), device=state.device) if taken else None,
            encoder_hidden_states=text[TOKENS],
            pooled_projections=text[POOLED],
            txt_ids=torch.zeros(text[TOKENS].shape[1], 3, device=state.device),
            img_ids=grid.reshape(rows * columns, 3),
        ).sample
        unpacked: Tensor = velocity.reshape(count, rows, columns, channels, 2, 2).permute(0, 3, 1, 4, 2, 5)
        return unpacked.reshape(state.shape)


class SanaTeacher(TextTeacher):
    """A `Teacher` that runs a `SanaTransformer2DModel` (https://arxiv.org/abs/2410.10629)."""

    def default_shape(self) -> tuple[int, int, int]:
        """See `TextTeacher.default_shape`."""
        return self.config.in_channels, self.config.sample_size, self.config.sample_size

    def forward(self, state: Tensor, time: Tensor, text: Embedded) -> Tensor:
        """See `TextTeacher.forward`."""
        times = time.to(state.device).expand(len(state)) * self.config.timestep_scale
        return self.network(  # type: ignore[no-any-return]
            state, encoder_hidden_states=text[TOKENS], encoder_attention_mask=text[MASK], timestep=times
        ).sample


def _length(pipeline: str) -> int:
    """Tokens that a pipeline gives of every prompt, by its own default."""
    import diffusers

    call = inspect.signature(getattr(diffusers, pipeline).__call__)
    return int(call.parameters["max_sequence_length"].default)


def _sd3_shapes(folder: Path, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    pooled = [encoder_number(folder, part, "projection_dim") for part in ("text_encoder", "text_encoder_2")]
    tokens = token_limit(folder, "tokenizer") + _length("StableDiffusion3Pipeline")
    hidden = encoder_number(folder, "text_encoder_3", "d_model")
    _require(config, folder, joint_attention_dim=hidden, pooled_projection_dim=sum(pooled))
    return {TOKENS: (tokens, hidden), POOLED: (sum(pooled),)}


def _flux_shapes(folder: Path, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    pooled, hidden = (
        encoder_number(folder, part, key)
        for part, key in (("text_encoder", "hidden_size"), ("text_encoder_2", "d_model"))
    )
    _require(config, folder, joint_attention_dim=hidden, pooled_projection_dim=pooled)
    return {TOKENS: (_length("FluxPipeline"), hidden), POOLED: (pooled,)}


def _sana_shapes(folder: Path, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, tokens = encoder_number(folder, "text_encoder", "hidden_size"), _length("SanaPipeline")
    _require(config, folder, caption_channels=hidden)
    return {TOKENS: (tokens, hidden), POOLED: (hidden,), MASK: (tokens,)}


def _require(config: Mapping[str, Any], folder: Path, **expected: int) -> None:
    wrong = {name: config.get(name) for name, value in expected.items() if config.get(name) != value}
    if wrong:
        raise TeacherError(
            f"a transformer must attend to what its text encoders give, {expected}, got {wrong} in {folder}; save the "
            "pipeline with its own text encoders"
        )


def _square(config: Mapping[str, Any], folder: Path) -> None:
    if not isinstance(config.get("sample_size"), int):
        raise TeacherError(
            f"a transformer must say the size of its latents, got sample_size {config.get('sample_size')!r} in "
            f"{folder}; save the pipeline again"
        )


def _plain_sana(config: Mapping[str, Any], folder: Path) -> None:
    _square(config, folder)
    outward = config.get("out_channels", config.get("in_channels"))
    if config.get("guidance_embeds") or outward != config.get("in_channels"):
        raise TeacherError(
            f"the transformer of a SanaPipeline must take a state, a time and a prompt alone, and give as many "
            f"channels as it takes, got guidance_embeds {config.get('guidance_embeds')!r} and out_channels {outward!r} "
            f"in {folder}; choose another teacher"
        )


def _packed(config: Mapping[str, Any], folder: Path) -> None:
    channels = config.get("in_channels")
    outward = config.get("out_channels") or channels
    if not isinstance(channels, int) or channels % 4 or outward != channels:
        raise TeacherError(
            f"a Flux transformer must take blocks of 2x2 latents and give as many, got in_channels {channels!r} and "
            f"out_channels {outward!r} in {folder}; choose another teacher"
        )


STABLE_DIFFUSION_3 = TextFamily(
    pipeline="StableDiffusion3Pipeline",
    network="transformer",
    classes=("SD3Transformer2DModel",),
    text=TextParts(
        encoders={
            "text_encoder": ("CLIPTextModelWithProjection",),
            "text_encoder_2": ("CLIPTextModelWithProjection",),
            "text_encoder_3": _T5,
        },
        tokenizers={"tokenizer": CLIP_TOKENIZERS, "tokenizer_2": CLIP_TOKENIZERS, "tokenizer_3": T5_TOKENIZERS},
    ),
    teacher=StableDiffusion3Teacher,
    shapes=_sd3_shapes,
    check_network=_square,
    multiple=lambda config: int(config["patch_size"]),
    arithmetic=FLOW,
)
"""The row of `StableDiffusion3Pipeline` in `TEACHERS`."""

FLUX = TextFamily(
    pipeline="FluxPipeline",
    network="transformer",
    classes=("FluxTransformer2DModel",),
    text=TextParts(
        encoders={"text_encoder": ("CLIPTextModel",), "text_encoder_2": _T5},
        tokenizers={"tokenizer": CLIP_TOKENIZERS, "tokenizer_2": T5_TOKENIZERS},
    ),
    teacher=FluxTeacher,
    shapes=_flux_shapes,
    check_network=_packed,
    multiple=lambda config: 2,
    arithmetic=FLOW,
)
"""The row of `FluxPipeline` in `TEACHERS`."""

SANA = TextFamily(
    pipeline="SanaPipeline",
    network="transformer",
    classes=("SanaTransformer2DModel",),
    text=TextParts(encoders={"text_encoder": ("Gemma2Model",)}, tokenizers={"tokenizer": GEMMA_TOKENIZERS}),
    teacher=SanaTeacher,
    shapes=_sana_shapes,
    check_network=_plain_sana,
    multiple=lambda config: int(config["patch_size"]),
    arithmetic=FLOW,
)
"""The row of `SanaPipeline` in `TEACHERS`."""
