"""Makes of a plain pipeline folder the forms in which people have them."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

STEM = "diffusion_pytorch_model"
METADATA = {"format": "pt"}


def weights_in(folder: Path) -> Path:
    return folder / "unet" / f"{STEM}.safetensors"


def as_root(folder: Path) -> None:
    """Everything at the root, as in google/ddpm-cifar10-32."""
    for name in ("scheduler", "unet"):
        for path in sorted((folder / name).iterdir()):
            shutil.move(path, folder)
        (folder / name).rmdir()


def as_variants(folder: Path, *variants: str, keep: bool = False) -> None:
    """Weights of variants beside (`keep`) or instead of the plain ones; each has other values."""
    tensors = load_file(weights_in(folder))
    for n, variant in enumerate(variants, 1):
        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(variant, torch.float32)
        changed = {name: (tensor + n / 64).to(dtype) for name, tensor in tensors.items()}
        save_file(changed, folder / "unet" / f"{STEM}.{variant}.safetensors", METADATA)
    if not keep:
        weights_in(folder).unlink()


def pickled(folder: Path) -> None:
    """Weights as torch pickles them, and no safetensors."""
    torch.save(load_file(weights_in(folder)), weights_in(folder).with_suffix(".bin"))
    weights_in(folder).unlink()
