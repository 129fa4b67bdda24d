"""A one-pass image pipeline around a distilled student: diffusers and torch, nothing else.

This file travels with every registered model, beside its weights, so it must not import the package it was written in.
"""

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, ModelMixin
from diffusers.utils.torch_utils import randn_tensor


class AdvKDPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Samples images in a single forward pass of a student network."""

    def __init__(self, student: ModelMixin) -> None:
        super().__init__()
        self.register_modules(student=student)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        noise: torch.Tensor | None = None,
    ) -> ImagePipelineOutput | tuple[torch.Tensor]:
        """Samples `batch_size` images.

        Args:
            batch_size: number of images.
            generator: of the noise; a list gives every image its own, so that it does not depend on the batch.
            output_type: "pil", "np" (`[B, H, W, C]`) or "pt" (`[B, C, H, W]`), the last two in [0, 1].
            return_dict: whether to return an `ImagePipelineOutput` rather than a tuple.
            noise: unit normal `[B, C, H, W]` to start from, instead of a fresh one.

        Raises:
            ValueError: an unknown output type, or noise of another shape.
        """
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f'output_type must be "pil", "np" or "pt", got {output_type!r}; choose one of them')
        sample_shape = tuple(self.student.config.sample_shape)
        if noise is None:
            shape = (batch_size, *sample_shape)
            noise = randn_tensor(shape, generator=generator, device=self.device, dtype=self.student.dtype)
        elif tuple(noise.shape[1:]) != sample_shape:
            raise ValueError(f"noise must have the shape [B, *{sample_shape}], got {tuple(noise.shape)}; reshape it")
        clean = self.student(noise.to(self.device, self.student.dtype))
        images = (clean / 2 + 0.5).clamp(0, 1)
        if output_type != "pt":
            images = images.cpu().permute(0, 2, 3, 1).float().numpy()
        if output_type == "pil":
            images = self.numpy_to_pil(images)
        return ImagePipelineOutput(images=images) if return_dict else (images,)
