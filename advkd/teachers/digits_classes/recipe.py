"""The recipe of `digits-classes`: a DiT (arXiv 2212.09748) on latents of digits, given their class.

It predicts velocities (Salimans and Ho 2022, arXiv 2202.00512) and knows an empty class for guidance (Ho and Salimans
2022, arXiv 2207.12598): classes, latents, guidance and a second parametrisation in one teacher that diffusers' own
`DiTPipeline` runs. `advkd teacher train digits-classes` runs it.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel
from torch import Tensor

from advkd.files import whole_folder
from advkd.teachers.digits import digit_images, digit_labels
from advkd.teachers.digits_classes.autoencoder import LATENT_SHAPE, encoded, train_autoencoder
from advkd.teachers.training import TeacherStep, TeacherTraining, checkpoint_of, train_network

TRAINING = TeacherTraining(images=1_200_000, batch_size=64)
_AUTOENCODER_PART = 0.25
_CLASSES, _DROPPED = 10, 0.1


def build_transformer() -> DiTTransformer2DModel:
    """Builds the network: 1.0 M parameters, 16 tokens of 4 channels, 10 classes and an empty one."""
    return DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=24,
        in_channels=LATENT_SHAPE[0],
        out_channels=LATENT_SHAPE[0],
        sample_size=LATENT_SHAPE[1],
        patch_size=1,
        num_layers=5,
        num_embeds_ada_norm=_CLASSES,
    )


def train(spec: TeacherTraining, out: Path) -> Iterator[TeacherStep]:
    """Trains both networks, yields the metrics of every step, and saves a `DiTPipeline` in float16 at `out`.

    The autoencoder sees a quarter as many images. An interrupted run goes on from its last checkpoint.
    """
    images = max(spec.batch_size, int(_AUTOENCODER_PART * spec.images))
    halflife = min(spec.ema_halflife, images / 20)
    autoencoder = yield from train_autoencoder(replace(spec, images=images, ema_halflife=halflife), out)
    # Latents are those of the weights that are shipped.
    autoencoder = autoencoder.half().float()
    torch.manual_seed(spec.seed)
    mean, std = (values * autoencoder.config.scaling_factor for values in encoded(autoencoder, digit_images()))
    labels = digit_labels()
    scheduler = DDIMScheduler(
        num_train_timesteps=1000, beta_schedule="linear", clip_sample=False, prediction_type="v_prediction"
    )
    # Evaluation mode: the network's own dropping of labels is another one for each of its blocks.
    network = build_transformer().eval()

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(labels), (spec.batch_size,), generator=generator)
        clean = mean[chosen] + std[chosen] * torch.randn((spec.batch_size, *LATENT_SHAPE), generator=generator)
        kept = torch.rand(spec.batch_size, generator=generator) >= _DROPPED
        classes = torch.where(kept, labels[chosen], _CLASSES)
        timesteps = torch.randint(1000, (spec.batch_size,), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = scheduler.add_noise(clean, noise, timesteps)
        predicted = network(noisy, timestep=timesteps, class_labels=classes).sample
        return torch.nn.functional.mse_loss(predicted, scheduler.get_velocity(clean, noise, timesteps))

    averaged = build_transformer()
    averaged.load_state_dict((yield from train_network("transformer", network, loss, spec, out)))
    with whole_folder(out, "a teacher") as partial:
        DiTPipeline(averaged.half(), autoencoder.half(), scheduler).save_pretrained(partial, safe_serialization=True)
        # diffusers reads the names of classes there, and does not write them.
        index = partial / "model_index.json"
        named = json.loads(index.read_text(encoding="utf-8")) | {"id2label": {str(k): str(k) for k in range(_CLASSES)}}
        index.write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
    for part in ("vae", "transformer"):
        checkpoint_of(out, part).unlink(missing_ok=True)
