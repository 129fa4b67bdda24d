"""The layerwise student: one network whose k-th submodule predicts the teacher's state at the k-th timestep.

Adv-KD (https://arxiv.org/abs/2405.20675), with the skip that the noise schedule implies (docs/method.md 3). The student
is a diffusers `ModelMixin`, so `save_pretrained` and `from_pretrained` (config.json and safetensors) work as usual.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from advkd.diffusion import LABELS, PROMPTS, Labels, prompt_shapes, skip_coefficients
from advkd.students.blocks import CleanHead, Film
from advkd.students.class_labels import check_labels
from advkd.students.levels import check_division, submodule
from advkd.students.prompts import PromptReader, check_prompts
from advkd.students.sampling import SeededSampling


class LayerwiseStudent(SeededSampling, ModelMixin, ConfigMixin):  # type: ignore[misc]
    """`h_0 = stem(x_T)`, `h_k = S_k(h_{k-1})`, `F_k = head_k(h_k)`, `x_hat_k = skip_k x_T + gain_k F_k`.

    With class labels y, `h_k = S_k(h_{k-1} (1 + scale_k(y)) + shift_k(y))`; scales and shifts start at zero. With
    prompts, y is the pooled embedding, and positions attend to the tokens besides, in front of `S_k` (`PromptReader`).
    """

    condition_kinds = (LABELS, PROMPTS)
    """Kinds of conditions that it takes."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_shape: Sequence[int],
        timesteps: Sequence[int],
        signal: Sequence[float],
        sigma: Sequence[float],
        width: int = 48,
        blocks: int | Sequence[int] = 2,
        patch: int = 2,
        levels: int = 1,
        attention: bool = False,
        space: Mapping[str, Any] | None = None,
        conditioning: Mapping[str, Any] | None = None,
    ) -> None:
        """Builds an untrained student.

        Args:
            sample_shape: `[C, H, W]`.
            timesteps: time grid `t_0 > ... > t_K = 0` of the store.
            signal: `a_t` on the grid.
            sigma: `s_t` on the grid.
            width: see `StudentSpec`.
            blocks: see `StudentSpec`.
            patch: see `StudentSpec`.
            levels: see `StudentSpec`.
            attention: see `StudentSpec`.
            space: facts of the states' space (`advkd.diffusion.space_of`); None means pixels.
            conditioning: facts of class labels or prompts (`advkd.diffusion.Labels`, `Prompts`); None: an unconditional
                student.

        Raises:
            ValueError: `patch` and `levels` do not divide the image, the grid is invalid, `blocks` does not fit it, or
                the conditions are neither class labels nor prompts.
        """
        super().__init__()
        channels, height, width_px = sample_shape
        check_division(height, width_px, patch, levels)
        self.timesteps = tuple(timesteps)
        self.sample_shape = (channels, height, width_px)
        self.coefficients = skip_coefficients(signal, sigma)
        self.stem = nn.Conv2d(channels * patch * patch, width, 3, padding=1)
        count = len(self.timesteps) - 1
        depths = [blocks] * count if isinstance(blocks, int) else list(blocks)
        if len(depths) != count:
            raise ValueError(
                f"blocks must be one number, or one for each of the {count} submodules, got {tuple(depths)}; give "
                "as many as the grid has states besides the noise"
            )
        self.submodules = nn.ModuleList(submodule(width, depth, levels, attention) for depth in depths)
        self.heads = nn.ModuleList(CleanHead(width, channels, patch) for _ in self.timesteps[1:])
        self.patch = patch
        told = conditioning or {}
        self.prompt_shapes = prompt_shapes(told) if told.get("kind") == PROMPTS else None
        self.labels = None if conditioning is None or self.prompt_shapes is not None else Labels(conditioning)
        # Last, so that all other weights are drawn as those of an unconditional student.
        if self.labels is not None:
            self.embedding = nn.Embedding(self.labels.classes, width)
            self.films = nn.ModuleList(Film(width, width) for _ in self.timesteps[1:])
        if self.prompt_shapes is not None:
            self.reader = PromptReader(self.prompt_shapes, width, count)

    def register_to_config(self, **settings: Any) -> None:
        """Notes the settings; an unconditional student's say nothing of conditions."""
        noted = {name: value for name, value in settings.items() if name != "conditioning" or value is not None}
        super().register_to_config(**noted)

    @property
    def output_weight(self) -> Tensor:
        """Weights W of the last head, at which the gradients of two losses are compared (docs/method.md 4.3)."""
        return self.heads[-1].conv.weight  # type: ignore[union-attr, return-value]

    def estimates(self, noise: Tensor, class_labels: Tensor | None = None, **text: Tensor) -> list[Tensor]:
        """Returns the clean estimates `F_1 ... F_K` for unit normal `noise`, each `[B, C, H, W]`; see `forward`."""
        return [head(hidden) for hidden, head in zip(self._hidden(noise, class_labels, text), self.heads, strict=True)]

    def states(self, noise: Tensor, estimates: Sequence[Tensor]) -> list[Tensor]:
        """Returns the predicted states at `timesteps[1:]`, from noisy to clean."""
        pairs = zip(self.coefficients.skip, self.coefficients.gain, estimates, strict=True)
        return [skip * noise + gain * estimate for skip, gain, estimate in pairs]

    def predictions(self, noise: Tensor, class_labels: Tensor | None = None, **text: Tensor) -> list[Tensor]:
        """Returns the predicted states at `timesteps[1:]` for `noise`, each `[B, C, H, W]`; see `forward`."""
        return self.states(noise, self.estimates(noise, class_labels, **text))

    def forward(self, noise: Tensor, class_labels: Tensor | None = None, **text: Tensor) -> Tensor:
        """Returns the clean state in one pass, `[B, C, H, W]`; skips the inner heads.

        Args:
            noise: unit normal, `[B, C, H, W]`.
            class_labels: int64 `[B]`, in [0, N), of a student with class labels; None for any other.
            **text: of a student with prompts: their embeddings by name, each `[B, ...]`.

        Raises:
            ValueError: a condition is missing, superfluous, not one for each noise, or, on the CPU, out of range.
        """
        for hidden in self._hidden(noise, class_labels, text):
            last = hidden
        return self.heads[-1](last)  # type: ignore[no-any-return]

    def check_condition(self, count: int, class_labels: Tensor | None = None, **text: Tensor) -> None:
        """See `SeededSampling.check_condition`."""
        check_labels(self.labels, class_labels, count)
        check_prompts(self.prompt_shapes, text, count)

    def _hidden(self, noise: Tensor, class_labels: Tensor | None, text: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """Yields `h_1 ... h_K`."""
        # Traced with any number of rows, where `len` would be that of the example.
        self.check_condition(noise.shape[0], class_labels, **text)
        patches = nn.functional.pixel_unshuffle(noise, self.patch)
        hidden = self.stem(patches.contiguous(memory_format=torch.channels_last))
        embedding = None if class_labels is None else self.embedding(class_labels)
        read = self.reader.read(text) if text else None
        for k, part in enumerate(self.submodules):
            if embedding is not None:
                hidden = self.films[k](hidden, embedding)
            if read is not None:
                hidden = self.reader(k, hidden, read)
            hidden = part(hidden)
            yield hidden
