"""`make bench-full-size`: teachers of full size, with the configs of the hub and random weights.

Prints the plan of a store for each (`advkd cache plan`), and times one block of each and one pass of the smaller one.
Configs are written from those of `google/ddpm-celebahq-256` and `facebook/DiT-XL-2-256`; nothing is downloaded.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    UNet2DModel,
)
from torch import nn
from typer.testing import CliRunner

from advkd.cli.main import command_line
from benchmarks.measure import progress, table, write

CELEBAHQ: dict[str, Any] = {
    "sample_size": 256, "in_channels": 3, "out_channels": 3, "center_input_sample": False,
    "time_embedding_type": "positional", "freq_shift": 1, "flip_sin_to_cos": False,
    "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    "block_out_channels": (128, 128, 256, 256, 512, 512), "layers_per_block": 2, "mid_block_scale_factor": 1,
    "downsample_padding": 0, "act_fn": "silu", "attention_head_dim": None, "norm_num_groups": 32, "norm_eps": 1e-6,
}  # fmt: skip
DIT_XL_2: dict[str, Any] = {
    "num_attention_heads": 16, "attention_head_dim": 72, "in_channels": 4, "out_channels": 8, "num_layers": 28,
    "dropout": 0.0, "norm_num_groups": 32, "attention_bias": True, "sample_size": 32, "patch_size": 2,
    "activation_fn": "gelu-approximate", "num_embeds_ada_norm": 1000, "upcast_attention": False,
    "norm_type": "ada_norm_zero", "norm_elementwise_affine": False, "norm_eps": 1e-5,
}  # fmt: skip
AUTOENCODER: dict[str, Any] = {
    "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 2, "sample_size": 256,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512), "norm_num_groups": 32, "act_fn": "silu", "scaling_factor": 0.18215,
}  # fmt: skip


def save_celebahq(folder: Path) -> UNet2DModel:
    """Saves `ddpm-celebahq-256` with random weights; returns its UNet."""
    unet = UNet2DModel(**CELEBAHQ)
    DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=1000, clip_sample=True)).save_pretrained(folder)
    return unet


def save_dit(folder: Path) -> DiTTransformer2DModel:
    """Saves DiT-XL/2 for 256x256 with random weights; returns its transformer."""
    dit = DiTTransformer2DModel(**DIT_XL_2)
    DiTPipeline(dit, AutoencoderKL(**AUTOENCODER), DDIMScheduler(clip_sample=False)).save_pretrained(folder)
    index = folder / "model_index.json"
    names = {str(k): f"class {k}" for k in range(DIT_XL_2["num_embeds_ada_norm"])}
    index.write_text(json.dumps(json.loads(index.read_text()) | {"id2label": names}))
    return dit


def plan(source: str) -> str:
    """Returns what `advkd cache plan` says of 50 000 samples."""
    options = ["--teacher", source, "--samples", "50000", "--solver", "unipc", "--steps", "10", "--workers", "8"]
    said = CliRunner().invoke(command_line(["cache", "plan"]), ["cache", "plan", *options], env={"COLUMNS": "160"})
    if said.exit_code:
        raise RuntimeError(f"a plan must be printed, got {said.stderr}; read it and correct the config")
    lines = said.stdout.splitlines()
    return "\n".join(line.rstrip() for line in lines[: lines.index("") if "" in lines else None])


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Returns wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    with torch.no_grad():
        call()
    return time.perf_counter() - wall, time.process_time() - cpu


def parameters(network: nn.Module) -> str:
    """Returns the number of parameters, in millions."""
    return f"{sum(tensor.numel() for tensor in network.parameters()) / 1e6:.1f} M"


def main() -> None:
    """Builds, plans and times both; `--write` writes `docs/benchmarks/full_size.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/full_size.md")
    keep = parser.parse_args().write
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        parts = [_celebahq(Path(scratch, "ddpm-celebahq-256")), _dit(Path(scratch, "DiT-XL-2-256"))]
    rows = [row for measured, _ in parts for row in measured]
    plans = [told for _, told in parts]
    told = "\n\n".join(f"{name}:\n\n```\n{text}\n```" for name, text in plans)
    text = (
        "# Teachers of full size\n\n"
        "`make bench-full-size`: the configs of `google/ddpm-celebahq-256` and `facebook/DiT-XL-2-256` with random "
        "weights, one sample on one thread of a shared CPU core, float32. The plans are those of `advkd cache plan "
        "--samples 50000 --solver unipc --steps 10 --workers 8` on the same machine. Random weights predict "
        "nothing, so the source says what (`#prediction=epsilon`).\n\n"
        f"{table(['teacher', 'parameters', 'what', 'wall', 'CPU'], rows)}\n\n{told}"
    )
    if keep:
        write("full_size", text)
    else:
        progress(text)


def _celebahq(folder: Path) -> tuple[list[list[str]], tuple[str, str]]:
    name, unet = folder.name, save_celebahq(folder).eval().to(memory_format=torch.channels_last)
    progress(f"built {name}")
    hidden, embedding = torch.randn(1, 128, 256, 256), torch.randn(1, 512)
    hidden, block = hidden.to(memory_format=torch.channels_last), unet.down_blocks[0]
    image = torch.randn(1, 3, 256, 256).to(memory_format=torch.channels_last)
    rows = [
        _row(name, parameters(unet), "first down block", seconds(lambda: block(hidden, embedding))),
        _row(name, parameters(unet), "whole pass", seconds(lambda: unet(image, 500))),
    ]
    told = plan(f"{folder}#prediction=epsilon")
    shutil.rmtree(folder)
    return rows, (name, told)


def _dit(folder: Path) -> tuple[list[list[str]], tuple[str, str]]:
    dit = save_dit(folder).eval()
    progress(f"built {folder.name}")
    tokens, step, label = torch.randn(1, 256, 1152), torch.tensor([500]), torch.tensor([7])
    first = dit.transformer_blocks[0]
    spent = seconds(lambda: first(tokens, timestep=step, class_labels=label))
    rows = [_row("DiT-XL/2", parameters(dit), "one of 28 blocks", spent)]
    return rows, ("DiT-XL/2 under guidance 4", plan(f"{folder}#guidance=4&prediction=epsilon"))


def _row(teacher: str, size: str, what: str, spent: tuple[float, float]) -> list[str]:
    progress(f"{teacher}, {what}: {spent[0]:.2f} s")
    return [teacher, size, what, f"{spent[0]:.2f} s", f"{spent[1]:.2f} s"]


if __name__ == "__main__":
    main()
