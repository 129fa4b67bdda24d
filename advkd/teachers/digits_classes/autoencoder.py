"""The autoencoder of `digits-classes`: 16x16 digits as latents of 4x4x4 (Rombach et al. 2022, arXiv 2112.10752)."""

from collections.abc import Generator
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from advkd.teachers.digits import SHAPE, digit_images
from advkd.teachers.training import TeacherStep, TeacherTraining, train_network

LATENT_SHAPE = (4, 4, 4)
_KL_WEIGHT = 1e-4
_SHIFT = 1


def build_autoencoder() -> AutoencoderKL:
    """Builds the network, 0.23 M parameters: `[B, 1, 16, 16]` to latents `[B, 4, 4, 4]` and back."""
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=LATENT_SHAPE[0],
        sample_size=SHAPE[1],
        block_out_channels=(16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def train_autoencoder(spec: TeacherTraining, out: Path) -> Generator[TeacherStep, None, AutoencoderKL]:
    """Trains on shifted digits, yields the metrics of every step, and returns the network with its scaling factor.

    Reconstruction error plus 1e-4 of the divergence from a unit normal distribution: latents keep all that a digit
    shows, and are smooth. The scaling factor makes their standard deviation 1.
    """
    torch.manual_seed(spec.seed)
    data = digit_images()
    network = build_autoencoder()

    def loss(generator: torch.Generator) -> Tensor:
        images = _shifted(data[torch.randint(len(data), (spec.batch_size,), generator=generator)], generator)
        posterior = network.encode(images).latent_dist
        latents = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator)
        error = torch.nn.functional.mse_loss(network.decode(latents).sample, images)
        divergence: Tensor = posterior.kl().mean() / latents[0].numel()
        return error + _KL_WEIGHT * divergence

    averaged = build_autoencoder()
    averaged.load_state_dict((yield from train_network("vae", network, loss, spec, out)))
    averaged.eval().requires_grad_(False)
    averaged.register_to_config(scaling_factor=1.0 / encoded(averaged, data)[0].std().item())
    return averaged


def encoded(network: AutoencoderKL, images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of the latents of images `[B, 1, 16, 16]`, each `[B, 4, 4, 4]`."""
    with torch.no_grad():
        posterior = network.encode(images).latent_dist
    return posterior.mean, posterior.std


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Moves each batch by up to a pixel, so that the autoencoder does not learn the digits by heart."""
    down, right = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=generator).tolist()
    return torch.roll(images, (down, right), (2, 3))
