"""The recipe of `emoji`: a UNet on 32x32 emoji in colour, given their group.

It predicts velocities (Salimans and Ho 2022, arXiv 2202.00512) on the cosine schedule (Nichol and Dhariwal 2021, arXiv
2102.09672) and knows an empty class for guidance (Ho and Salimans 2022, arXiv 2207.12598). `advkd teacher train emoji`
runs it.
"""

import json
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor

from advkd.files import whole_folder
from advkd.teachers.emoji.batches import NULL, draw_batch
from advkd.teachers.emoji.data import RESOLUTION, SHAPE, EmojiImages, read_emoji
from advkd.teachers.emoji.groups import GROUPS
from advkd.teachers.emoji.package import emoji_package
from advkd.teachers.training import TeacherStep, TeacherTraining, checkpoint_of, train_network

TRAINING = TeacherTraining(images=1_000_000, batch_size=32, ema_halflife=30_000, checkpoint_every=1024)
_CARD = Path(__file__).with_name("card.md")
PART = "unet"
"""Name of the network in checkpoints and in the pipeline."""


def build_unet() -> UNet2DModel:
    """Builds the network: 8 groups and an empty class; narrow at 32x32, where most of the time would go."""
    return UNet2DModel(
        sample_size=RESOLUTION,
        in_channels=SHAPE[0],
        out_channels=SHAPE[0],
        layers_per_block=1,
        block_out_channels=(16, 32, 64, 96, 128),
        down_block_types=("DownBlock2D",) * 5,
        up_block_types=("UpBlock2D",) * 5,
        norm_num_groups=8,
        attention_head_dim=32,
        num_class_embeds=len(GROUPS) + 1,
    )


def build_scheduler() -> DDPMScheduler:
    """Builds the scheduler: 1000 timesteps of the cosine, of which the last is noise alone."""
    return DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", clip_sample=False, prediction_type="v_prediction"
    )


def train(spec: TeacherTraining, out: Path, package: Path | None = None) -> Iterator[TeacherStep]:
    """Trains, yields the metrics of every step, and saves a `DDPMPipeline` with float16 safetensors at `out`.

    It sees the half that is not held out. An interrupted run goes on from its last checkpoint.

    Args:
        spec: how it is trained.
        out: folder of the pipeline.
        package: file of the npm package with the pictures; None: it is downloaded once.

    Raises:
        ValueError: the file is not that package. ConnectionError: it cannot be downloaded.
    """
    data = read_emoji(emoji_package(package))
    weights = yield from train_on(data.part(~data.held_out), spec, out)
    save_teacher(weights, out)
    checkpoint_of(out, PART).unlink(missing_ok=True)


def train_on(data: EmojiImages, spec: TeacherTraining, out: Path) -> Generator[TeacherStep, None, dict[str, Tensor]]:
    """Trains on the given images, yields the metrics of every step, and returns the averaged weights by name."""
    torch.manual_seed(spec.seed)
    scheduler, odds = build_scheduler(), data.weights()
    unet = build_unet().to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> Tensor:
        batch = draw_batch(data, odds, spec.batch_size, generator)
        timesteps = torch.randint(1000, (spec.batch_size,), generator=generator)
        noise = torch.randn(batch.images.shape, generator=generator)
        noisy = scheduler.add_noise(batch.images, noise, timesteps).to(memory_format=torch.channels_last)
        predicted = unet(noisy, timesteps, class_labels=batch.classes).sample
        return torch.nn.functional.mse_loss(predicted, scheduler.get_velocity(batch.images, noise, timesteps))

    return (yield from train_network(PART, unet, loss, spec, out))


def save_teacher(weights: Mapping[str, Tensor], out: Path) -> None:
    """Saves weights as a pipeline in float16, which names its groups and its empty class, with its card."""
    unet = build_unet()
    unet.load_state_dict(weights)
    with whole_folder(out, "a teacher") as partial:
        DDPMPipeline(unet.half(), build_scheduler()).save_pretrained(partial, safe_serialization=True)
        index = partial / "model_index.json"
        names = {str(number): name for number, name in enumerate((*GROUPS, "none"))}
        named = json.loads(index.read_text(encoding="utf-8")) | {"id2label": names, "null_class": NULL}
        (partial / "README.md").write_bytes(_CARD.read_bytes())
        index.write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
