"""The recipe of the embedded teacher: a DDPM (Ho et al. 2020, https://arxiv.org/abs/2006.11239) on 16x16 digits.

`advkd teacher train-digits` runs it. Training is a generator of step metrics, like the student's loop. The same seed
gives the same weights on the same machine.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from advkd.device import torch_threads
from advkd.files import whole_folder
from advkd.optimizers import Ema
from advkd.teachers.digits.data import RESOLUTION, digit_images


@dataclass(frozen=True, kw_only=True)
class DigitsTeacherSpec:
    """How the embedded teacher is trained.

    Attributes:
        images: training images seen, the clock of the run.
        batch_size: images per step.
        learning_rate: peak of the cosine after a linear warm-up of 500 steps.
        ema_halflife: half-life, in images, of the moving average of the weights that is saved.
        seed: seed of weights, order, timesteps and noise.
        threads: CPU threads of torch; sums depend on their number, so another number gives other weights.
    """

    images: int = 720_000
    batch_size: int = 128
    learning_rate: float = 1e-3
    ema_halflife: float = 40_000.0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.images < self.batch_size:
            raise ValueError(
                f"images must be at least batch_size, which must be positive, got {self.images} and {self.batch_size}; "
                "train on at least one batch"
            )


@dataclass(frozen=True)
class TeacherStep:
    """Metrics of one training step: images seen so far, and the mean squared error of the predicted noise."""

    images: int
    loss: float


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


def train_digits(spec: DigitsTeacherSpec, out: Path) -> Iterator[TeacherStep]:
    """Trains, yields the metrics of every step, and saves a `DDPMPipeline` with float16 safetensors at `out`.

    An interrupted run starts from the beginning: it takes half an hour, at most once per release.
    """
    with torch_threads(spec.threads):
        yield from _train(spec, out)


def _train(spec: DigitsTeacherSpec, out: Path) -> Iterator[TeacherStep]:
    torch.manual_seed(spec.seed)
    generator = torch.Generator().manual_seed(spec.seed)
    data = digit_images()
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear", clip_sample=False)
    unet = build_unet().to(memory_format=torch.channels_last)
    ema = Ema(unet)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=spec.learning_rate, weight_decay=0.01, fused=True)
    steps = spec.images // spec.batch_size
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * _warm_cosine(step, steps, warm_up=500)
        clean = data[torch.randint(len(data), (spec.batch_size,), generator=generator)]
        timesteps = torch.randint(1000, (spec.batch_size,), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = scheduler.add_noise(clean, noise, timesteps).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = unet(noisy, timesteps).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        images = (step + 1) * spec.batch_size
        ema.update(unet, spec.batch_size, min(spec.ema_halflife, images / 20))
        yield TeacherStep(images, loss.item())
    averaged = build_unet()
    averaged.load_state_dict(ema.state_dict())
    with whole_folder(out, "a teacher") as partial:
        DDPMPipeline(averaged.half(), scheduler).save_pretrained(partial, safe_serialization=True)


def _warm_cosine(step: int, steps: int, warm_up: int) -> float:
    rise = min(1.0, (step + 1) / min(warm_up, steps))
    return rise * 0.5 * (1.0 + math.cos(math.pi * step / steps))
