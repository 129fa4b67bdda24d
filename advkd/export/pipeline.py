"""A one-pass image pipeline around a distilled student: diffusers and torch, nothing else.

This file travels with every registered model, beside its weights, so it must not import the package it was written in.
"""

from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, ModelMixin
from diffusers.utils.torch_utils import randn_tensor


class AdvKDPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Samples images in a single forward pass of a student network, and decodes them if they are latents."""

    model_cpu_offload_seq = "student->decoder"
    _optional_components = ("decoder", "prompts")

    def __init__(
        self, student: ModelMixin, decoder: ModelMixin | None = None, prompts: ModelMixin | None = None
    ) -> None:
        super().__init__()
        self.register_modules(student=student, decoder=decoder, prompts=prompts)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | int | None = None,
        batch_size: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        num_inference_steps: int = 1,
        output_type: str = "pil",
        return_dict: bool = True,
        noise: torch.Tensor | None = None,
        seed: int | None = None,
        class_labels: int | str | list[int | str] | torch.Tensor | None = None,
        **condition: torch.Tensor,
    ) -> ImagePipelineOutput | tuple[torch.Tensor]:
        """Samples `batch_size` images.

        Args:
            prompt: of a student with prompts: that of all images, or a list with that of each. Those that
                `pipe.prompts` stores need nothing else; for others call `pipe.prompts.load_text_encoder()` once.
            batch_size: number of images; None: one for each label or prompt in a list, otherwise 1.
            generator: of the noise; a list gives every image its own, so that it does not depend on the batch.
            num_inference_steps: 1, for callers who always give it: there is one pass, and no progress bar.
            output_type: "pil", "np" (`[B, H, W, C]`) or "pt" (`[B, C, H, W]`), the last two in [0, 1]; "latent": the
                student's own states, the only ones of a student whose states are no pixels and that has no decoder.
            return_dict: whether to return an `ImagePipelineOutput` rather than a tuple.
            noise: unit normal `[B, C, H, W]` to start from, instead of a fresh one; B images are made.
            seed: image i is made of the noise of (seed, i) alone, as by the student's `sample`.
            class_labels: of a class-conditional student: the class of all images, or a list with that of each; numbers,
                or names where the student's config has them.
            **condition: what else the images are conditioned on, each `[B, ...]`, by the names that the student takes.

        Raises:
            ValueError: a value out of range, more than one source of noise, generators or noise that do not fit, labels
                or prompts that are missing, unknown or not as many as images.
        """
        kinds = ("pil", "np", "pt", "latent")
        if output_type not in kinds:
            raise ValueError(f"output_type must be one of {kinds}, got {output_type!r}; choose one of them")
        space = self.student.config.get("space")
        if space is not None and self.decoder is None and output_type != "latent":
            raise ValueError(
                f"this student's states are no pixels but {space.get('kind')!r}, got output_type {output_type!r}; ask "
                'for "latent" and decode them as its teacher does'
            )
        if num_inference_steps != 1:
            raise ValueError(f"num_inference_steps must be 1 for a student, got {num_inference_steps}; leave it out")
        given = [
            name for name, value in (("generator", generator), ("noise", noise), ("seed", seed)) if value is not None
        ]
        if len(given) > 1:
            raise ValueError(f"noise must come from one source, got {' and '.join(given)}; give one of them")
        if isinstance(prompt, int):
            # A number in the first place is that of images, as for students without prompts.
            prompt, batch_size = None, prompt
        if isinstance(class_labels, torch.Tensor):
            class_labels = class_labels.tolist()
        count = self._count(batch_size, noise, class_labels, prompt)
        if class_labels is not None:
            condition = {**condition, "class_labels": self._numbers(class_labels, count)}
        if prompt is not None:
            condition = {**condition, **self._embedded(prompt, count)}
        clean = (
            self.student.sample(count, seed, **condition).images
            if seed is not None
            else self._clean(count, generator, noise, condition)
        )
        if output_type == "latent":
            return ImagePipelineOutput(images=clean) if return_dict else (clean,)
        images = clean if space is None else self._decoded(clean, space)
        images = (images / 2 + 0.5).clamp(0, 1)
        if output_type != "pt":
            images = images.cpu().permute(0, 2, 3, 1).float().numpy()
        if output_type == "pil":
            images = self.numpy_to_pil(images)
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _decoded(self, states: torch.Tensor, space: dict[str, Any]) -> torch.Tensor:
        latents = states.to(self._execution_device, self.decoder.dtype) / space["scaling_factor"]
        # Decoders take far more memory than students: a fixed number of pixels at a time.
        at_once = max(1, 2**20 // (space["image_shape"][1] * space["image_shape"][2]))
        parts = (latents + space["shift_factor"]).split(at_once)
        return torch.cat([self.decoder.decode(part).sample for part in parts])

    def _count(self, batch_size: int | None, noise: torch.Tensor | None, *conditions: Any) -> int:
        if noise is not None:
            return len(noise)
        each = next((len(given) for given in conditions if isinstance(given, list)), 1)
        return each if batch_size is None else batch_size

    def _embedded(self, prompt: str | list[str], count: int) -> dict[str, torch.Tensor]:
        """The embeddings of all images' prompts, each `[count, ...]`."""
        each = prompt if isinstance(prompt, list) else [prompt] * count
        if len(each) != count:
            raise ValueError(
                f"prompt must be one, or as many as images ({count}), got {len(each)}; give one for each image"
            )
        if self.prompts is None:
            raise ValueError("this student takes no prompts, got one; leave it out")
        return self.prompts.embed(each)  # type: ignore[no-any-return]

    def _numbers(self, class_labels: int | str | list[int | str], count: int) -> torch.Tensor:
        """The classes of all images as the student takes them, checked: int64 `[count]`, on the CPU."""
        each = class_labels if isinstance(class_labels, list) else [class_labels] * count
        if len(each) != count:
            raise ValueError(
                f"class_labels must be one, or as many as images ({count}), got {len(each)}; give one for each image"
            )
        known = getattr(self.student, "labels", None)
        return torch.tensor([int(label) if known is None else known.number(label) for label in each], dtype=torch.int64)

    def _clean(
        self,
        count: int,
        generator: torch.Generator | list[torch.Generator] | None,
        noise: torch.Tensor | None,
        condition: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        shape = tuple(self.student.config.sample_shape)
        if noise is not None:
            if tuple(noise.shape[1:]) != shape:
                raise ValueError(f"noise must have the shape [B, *{shape}], got {tuple(noise.shape)}; reshape it")
            return self._pass(noise.to(self._execution_device, self.student.dtype), condition)
        if count < 1:
            raise ValueError(f"batch_size must be positive, got {count}; ask for at least 1")
        if isinstance(generator, list) and len(generator) != count:
            raise ValueError(f"generators must be as many as images ({count}), got {len(generator)}; give one for each")
        drawn = randn_tensor(
            (count, *shape), generator=generator, device=self._execution_device, dtype=self.student.dtype
        )
        return self._pass(drawn, condition)

    def _pass(self, noise: torch.Tensor, condition: dict[str, torch.Tensor]) -> torch.Tensor:
        moved = {name: values.to(noise.device) for name, values in condition.items()}
        return self.student(noise, **moved)  # type: ignore[no-any-return]
