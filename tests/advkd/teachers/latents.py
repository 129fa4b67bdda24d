"""Latent teachers at tiny size, with random weights, as diffusers saves them: 8x8 latents of 16x16 images."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    LDMPipeline,
    UNet2DModel,
    VQModel,
)

from tests.advkd.conftest import tiny_unet

_BLOCKS: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 8),
    "norm_num_groups": 4,
}


def tiny_vq(seed: int = 0) -> VQModel:
    torch.manual_seed(seed)
    return VQModel(**_BLOCKS, latent_channels=3, num_vq_embeddings=32, scaling_factor=0.5)


def tiny_kl(seed: int = 0, **changes: object) -> AutoencoderKL:
    torch.manual_seed(seed)
    return AutoencoderKL(**_BLOCKS, **({"latent_channels": 4, "scaling_factor": 0.18} | changes))


def tiny_dc() -> AutoencoderDC:
    return AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"), encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), downsample_block_type="conv",
        upsample_block_type="interpolate", decoder_norm_types="rms_norm", decoder_act_fns="silu", scaling_factor=0.41,
    )  # fmt: skip


def tiny_taesd(seed: int = 0) -> AutoencoderTiny:
    torch.manual_seed(seed)
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=3,
    )


def tiny_latent_unet(seed: int = 0, channels: int = 3, **changes: Any) -> UNet2DModel:
    """That of pixels (`tiny_unet`), for latents of so many channels."""
    return tiny_unet(seed, **({"in_channels": channels, "out_channels": channels} | changes))


def ldm_folder(folder: Path, autoencoder: Any = None, **changes: Any) -> Path:
    """Saves an `LDMPipeline`; its UNet's settings can be changed."""
    vae = autoencoder if autoencoder is not None else tiny_vq()
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195, clip_sample=False)
    LDMPipeline(vae, tiny_latent_unet(channels=vae.config.latent_channels, **changes), scheduler).save_pretrained(
        folder
    )
    return folder


NAMES = ("tench, Tinca tinca", "goldfish", "shark")


def tiny_dit(seed: int = 0, **changes: object) -> DiTTransformer2DModel:
    torch.manual_seed(seed)
    chosen: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "in_channels": 4,
        "out_channels": 8,
        "num_layers": 2,
        "sample_size": 8,
        "patch_size": 2,
        "num_embeds_ada_norm": len(NAMES),
    }
    return DiTTransformer2DModel(**(chosen | changes))


def dit_folder(
    folder: Path,
    *,
    names: tuple[str, ...] | None = NAMES,
    dit: DiTTransformer2DModel | None = None,
    **scheduler: object,
) -> Path:
    """Saves a `DiTPipeline` with names for its classes, as on the hub."""
    DiTPipeline(dit or tiny_dit(), tiny_kl(), DDIMScheduler(clip_sample=False, **scheduler)).save_pretrained(folder)
    if names is not None:
        index = folder / "model_index.json"
        labels = {str(k): name for k, name in enumerate(names)}
        index.write_text(json.dumps(json.loads(index.read_text()) | {"id2label": labels}))
    return folder
