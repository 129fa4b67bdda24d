"""The recipe of the embedded teacher: a DDPM (Ho et al. 2020, https://arxiv.org/abs/2006.11239) on 16x16 digits.

`advkd teacher train digits` runs it.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor

from advkd.files import whole_folder
from advkd.teachers.digits.data import RESOLUTION, digit_images
from advkd.teachers.training import TeacherStep, TeacherTraining, checkpoint_of, train_network

TRAINING = TeacherTraining()


def build_unet() -> UNet2DModel:
    """Builds the network: 1.05 M parameters, 16x16 -> 8x8 -> 4x4, no attention; chosen for speed on a CPU."""
    return UNet2DModel(
        sample_size=RESOLUTION,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=8,
        add_attention=False,
    )


def train(spec: TeacherTraining, out: Path) -> Iterator[TeacherStep]:
    """Trains, yields the metrics of every step, and saves a `DDPMPipeline` with float16 safetensors at `out`.

    An interrupted run goes on from its last checkpoint.
    """
    torch.manual_seed(spec.seed)
    data = digit_images()
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", clip_sample=False)
    unet = build_unet().to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> Tensor:
        clean = data[torch.randint(len(data), (spec.batch_size,), generator=generator)]
        timesteps = torch.randint(1000, (spec.batch_size,), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = scheduler.add_noise(clean, noise, timesteps).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = unet(noisy, timesteps).sample
        return torch.nn.functional.mse_loss(predicted.float(), noise)

    averaged = build_unet()
    averaged.load_state_dict((yield from train_network("unet", unet, loss, spec, out)))
    with whole_folder(out, "a teacher") as partial:
        DDPMPipeline(averaged.half(), scheduler).save_pretrained(partial, safe_serialization=True)
    checkpoint_of(out, "unet").unlink(missing_ok=True)
