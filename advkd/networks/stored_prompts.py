"""Prompts with their embeddings as one diffusers model: what stores, students and registered pipelines keep of text.

Its embeddings are buffers in safetensors, its prompts stand in config.json. The class travels with a registered student
(`advkd.export.bundle`), so it uses torch and diffusers alone. Prompts that it does not hold are embedded by the
teacher's own pipeline without its network: each family's `encode_prompt`, as diffusers has it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import diffusers
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

_SAME = 1e-2


def _stable_diffusion(pipe: Any, prompt: str) -> dict[str, Tensor]:
    tokens = pipe.encode_prompt(prompt, pipe.device, 1, False)[0]
    read = pipe.tokenizer(
        prompt, padding="max_length", max_length=pipe.tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    # Its UNet takes tokens alone; the state of the last token is for students and discriminators.
    pooled = pipe.text_encoder(read.input_ids.to(tokens.device)).pooler_output
    return {"encoder_hidden_states": tokens, "pooled_projections": pooled}


def _stable_diffusion_3(pipe: Any, prompt: str) -> dict[str, Tensor]:
    tokens, _, pooled, _ = pipe.encode_prompt(prompt, None, None, do_classifier_free_guidance=False)
    return {"encoder_hidden_states": tokens, "pooled_projections": pooled}


def _flux(pipe: Any, prompt: str) -> dict[str, Tensor]:
    tokens, pooled, _ = pipe.encode_prompt(prompt)
    return {"encoder_hidden_states": tokens, "pooled_projections": pooled}


def _sana(pipe: Any, prompt: str) -> dict[str, Tensor]:
    # The pipeline puts an instruction before prompts, and none before the empty one of guidance.
    call = inspect.signature(type(pipe).__call__).parameters
    instruction = call["complex_human_instruction"].default if prompt else None
    tokens, mask, _, _ = pipe.encode_prompt(prompt, False, complex_human_instruction=instruction)
    weights = mask.to(tokens.dtype)
    mean = (tokens * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True)
    return {"encoder_hidden_states": tokens, "pooled_projections": mean, "encoder_attention_mask": weights}


ENCODE: Mapping[str, Callable[[Any, str], dict[str, Tensor]]] = {
    "StableDiffusionPipeline": _stable_diffusion,
    "StableDiffusion3Pipeline": _stable_diffusion_3,
    "FluxPipeline": _flux,
    "SanaPipeline": _sana,
}
"""By class of pipeline: the embeddings of one prompt, each `[1, ...]`."""

UNUSED: Mapping[str, tuple[str, ...]] = {
    "StableDiffusionPipeline": ("unet", "vae", "scheduler", "safety_checker", "feature_extractor", "image_encoder"),
    "StableDiffusion3Pipeline": ("transformer", "vae", "scheduler"),
    "FluxPipeline": ("transformer", "vae", "scheduler"),
    "SanaPipeline": ("transformer", "vae", "scheduler"),
}
"""By class of pipeline: the components that embed nothing."""


class StoredPrompts(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """N prompts and their embeddings, `[N + 1, ...]` each; the last row is the empty prompt's, for guidance."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, prompts: Sequence[str], conditioning: Mapping[str, Any], origin: str = "") -> None:
        """Builds it with zeros for embeddings.

        Args:
            prompts: the texts.
            conditioning: facts of the prompts (`advkd.diffusion.Prompts`).
            origin: hub id of the pipeline whose text encoder embeds, `owner/name@commit`; "" where it has none.
        """
        super().__init__()
        self._numbers = {prompt: number for number, prompt in enumerate(prompts)}
        self._encoder: Any = None
        for name, shape in conditioning["tensors"].items():
            self.register_buffer(name, torch.zeros(len(prompts) + 1, *shape))

    @property
    def empty(self) -> int:
        """The number of the empty prompt."""
        return len(self.config.prompts)

    def rows(self, numbers: Tensor) -> dict[str, Tensor]:
        """Returns the embeddings of prompts by their numbers `[B]`, each `[B, ...]`."""
        return {name: values[numbers.to(values.device)] for name, values in self.named_buffers()}

    def embed(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Returns the embeddings of texts, each `[B, ...]`: stored ones, and others where an encoder is loaded.

        Raises:
            ValueError: a prompt is not stored, and no text encoder is loaded.
        """
        rows = [self._row(prompt) for prompt in prompts]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def load_text_encoder(self, source: str | None = None) -> None:
        """Loads the text encoder, so that any prompt can be embedded; needs `transformers`.

        Args:
            source: folder or hub id (`owner/name@revision`) of the teacher's pipeline; None: where it came from.

        Raises:
            ValueError: nothing says where it is, or it embeds a stored prompt otherwise than the teacher's did.
        """
        place = source or self.config.origin
        if not place:
            raise ValueError(
                "a text encoder is loaded from its teacher's pipeline, got none noted, as the teacher was no hub id; "
                "give its folder: load_text_encoder('path/to/teacher')"
            )
        name, _, revision = place.partition("@") if source is None or "@" in place else (place, "", "")
        kind = self.config.conditioning["pipeline"]
        like = next(self.buffers())
        options = dict.fromkeys(UNUSED[kind]) | ({"revision": revision} if revision else {})
        loaded = getattr(diffusers, kind).from_pretrained(name, use_safetensors=True, **options)
        self.adopt_encoder(loaded.to(like.device, like.dtype))

    @torch.no_grad()
    def adopt_encoder(self, pipe: Any) -> None:
        """Takes a pipeline's text encoder; raises `ValueError` if it embeds the empty prompt otherwise."""
        tokens = ENCODE[self.config.conditioning["pipeline"]](pipe, "")["encoder_hidden_states"][0]
        stored = self.encoder_hidden_states[self.empty]
        apart = (tokens.float() - stored.float()).abs().max() if tokens.shape == stored.shape else None
        if apart is None or not apart <= _SAME * (1 + stored.float().abs().max()):
            raise ValueError(
                "a text encoder must be the one that the student's teacher had, got one that embeds the empty prompt "
                "otherwise; give the teacher's own pipeline"
            )
        self._encoder = pipe

    @torch.no_grad()
    def _row(self, prompt: str) -> dict[str, Tensor]:
        number = self.empty if prompt == "" else self._numbers.get(prompt)
        if number is not None:
            return {name: values[number] for name, values in self.named_buffers()}
        if self._encoder is None:
            raise ValueError(
                f"a prompt must be one of the {self.empty} stored ones, or there must be a text encoder, got "
                f"{prompt[:80]!r} without one; load it by pipe.prompts.load_text_encoder(), or give a stored prompt "
                f"such as {self.config.prompts[0][:80]!r}"
            )
        embedded = ENCODE[self.config.conditioning["pipeline"]](self._encoder, prompt)
        like = next(self.buffers())
        return {name: values[0].to(like.device, like.dtype) for name, values in embedded.items()}
