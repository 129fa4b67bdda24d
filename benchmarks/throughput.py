"""`make bench-throughput`: what a store costs beyond its passes, family by family.

`precompute`, from an empty root to a sealed store, against the loop of the family's own pipeline in diffusers: same
weights, batch, steps and thread, states thrown away.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DiTPipeline,
    DiTTransformer2DModel,
    LDMPipeline,
    UNet2DModel,
    VQModel,
)
from safetensors.torch import load_file

from advkd.device import torch_threads
from advkd.teachers import DIGITS_FOLDER, SolverSpec
from advkd.trajectories import Filling, PrecomputeSpec, precompute
from benchmarks.measure import figures, interleaved, progress, ratios, spread, table, write

GOAL = 0.97
_BARE, _STORED = "bare loop", "precompute"


@dataclass(frozen=True)
class Case:
    """A family, at the size at which it is measured."""

    name: str
    network: str
    folder: Path
    part: str
    samples: int
    batch: int
    steps: int


def cases(folder: Path) -> list[Case]:
    """Saves the teachers with random weights, as diffusers saves them."""
    torch.manual_seed(0)
    scheduler = DDIMScheduler(clip_sample=False)
    rgb = UNet2DModel(
        sample_size=32, in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), attention_head_dim=None,
        downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6,
    )  # fmt: skip
    DDPMPipeline(rgb, scheduler).save_pretrained(folder / "rgb")
    dit = DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=32, in_channels=4, out_channels=8, num_layers=6, sample_size=16,
        patch_size=2, num_embeds_ada_norm=10,
    )  # fmt: skip
    vae = VQModel(latent_channels=4, norm_num_groups=4, block_out_channels=(8, 8), scaling_factor=0.5,
                  down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)  # fmt: skip
    DiTPipeline(dit, vae, scheduler).save_pretrained(folder / "dit")
    small = UNet2DModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    LDMPipeline(vae, small, scheduler).save_pretrained(folder / "ldm")
    wide = UNet2DModel(
        sample_size=32, in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(112, 224, 336, 448),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"), attention_head_dim=32,
        norm_num_groups=16,
    )  # fmt: skip
    LDMPipeline(vae, wide, scheduler).save_pretrained(folder / "wide")
    return [
        Case("UNet2DModel, digits", _told(DIGITS_FOLDER / "unet"), DIGITS_FOLDER, "unet", 256, 128, 10),
        Case("UNet2DModel, as ddpm-cifar10-32", _told(folder / "rgb" / "unet"), folder / "rgb", "unet", 8, 8, 5),
        Case("DiTPipeline", _told(folder / "dit" / "transformer"), folder / "dit", "transformer", 256, 128, 10),
        Case("LDMPipeline, 32 channels wide", _told(folder / "ldm" / "unet"), folder / "ldm", "unet", 256, 128, 10),
        Case(
            "LDMPipeline, half as wide as ldm-celebahq-256",
            _told(folder / "wide" / "unet"),
            folder / "wide",
            "unet",
            8,
            8,
            5,
        ),
    ]


def _told(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    weights = sum(value.numel() for value in load_file(folder / "diffusion_pytorch_model.safetensors").values())
    size = config["sample_size"]
    return f"{weights / 1e6:.2f} M parameters on {config['in_channels']}x{size}x{size}"


def measure(case: Case, root: Path, repeats: int) -> list[dict[str, float]]:
    """CPU seconds of both, in turns."""
    spec = PrecomputeSpec(
        teacher=str(case.folder), store=str(root), samples=case.samples, captures=4,
        solver=SolverSpec(steps=case.steps), shard_samples=case.samples, block_samples=case.batch,
    )  # fmt: skip
    filling = Filling.of(spec)
    progress(f"{case.name}: micro-batch {filling.micro_batch} of {case.batch}")
    loop = _bare(case, filling)
    loop(1)
    both = {
        _BARE: partial(_cpu_seconds, partial(loop, case.steps)),
        _STORED: partial(_cpu_seconds, partial(_store, spec)),
    }
    with torch_threads(1):
        return interleaved(both, repeats)


def _bare(case: Case, filling: Filling) -> Callable[[int], None]:
    """Returns the pipeline's loop, as its `__call__` has it, for a number of steps of every batch."""
    kind: Any = DiTTransformer2DModel if case.part == "transformer" else UNet2DModel
    network = kind.from_pretrained(case.folder / case.part, use_safetensors=True).eval()
    shape = filling.teacher.space.shape
    config = {k: v for k, v in filling.identity.sampler_config.items() if k not in ("class", "replaced")}

    @torch.no_grad()
    def loop(steps: int) -> None:
        for _ in range(0, case.samples, case.batch):
            scheduler = DDIMScheduler.from_config(config)
            scheduler.set_timesteps(case.steps)
            state = torch.randn(case.batch, *shape)
            for time_ in scheduler.timesteps[:steps]:
                if case.part == "transformer":
                    times, labels = time_.expand(case.batch), torch.zeros(case.batch, dtype=torch.int64)
                    predicted = network(state, timestep=times, class_labels=labels).sample[:, : shape[0]]
                else:
                    predicted = network(state, time_).sample
                state = scheduler.step(predicted, time_, state).prev_sample

    return loop


def formats(case: Case) -> str:
    """Returns CPU seconds of a pass of a UNet's batch: in torch's own memory format, and channels last."""
    network = UNet2DModel.from_pretrained(case.folder / case.part, use_safetensors=True).eval()
    size = network.config.sample_size
    noise = torch.randn(case.batch, network.config.in_channels, size, size)

    @torch.no_grad()
    def one_pass(layout: torch.memory_format) -> float:
        network.to(memory_format=layout)
        state = noise.to(memory_format=layout)
        return _cpu_seconds(lambda: network(state, 500))

    layouts = {"own": torch.contiguous_format, "last": torch.channels_last}
    runs = interleaved({name: partial(one_pass, layout) for name, layout in layouts.items()}, 3)
    own, last = (statistics.median(figures(runs, name)) for name in layouts)
    return f"{last / own:.2f} for {case.name}"


def _store(spec: PrecomputeSpec) -> None:
    shutil.rmtree(spec.store, ignore_errors=True)
    precompute(spec)


def _cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main(repeats: int = 3) -> None:
    """Measures all families and writes `docs/benchmarks/throughput.md`."""
    rows, worst, layouts = [], float("inf"), []
    with tempfile.TemporaryDirectory() as folder, torch_threads(1):
        for case in cases(Path(folder)):
            runs = measure(case, Path(folder, "stores"), repeats)
            found = ratios(runs, _BARE, _STORED)
            worst = min(worst, statistics.median(found))
            passes = case.samples * case.steps
            speeds = [spread((passes / value for value in figures(runs, name)), ".1f") for name in (_BARE, _STORED)]
            if case.part == "unet":
                layouts.append(formats(case))
            rows.append([case.name, case.network, f"{case.batch} x {case.steps}", *speeds, spread(found, ".3f")])
    verdict = "reached" if worst >= GOAL else "not reached"
    write(
        "throughput",
        "# Throughput of precompute, storing included\n\n"
        "`make bench-throughput`: `precompute` from an empty root to a sealed store (noise, passes, encoding, "
        "statistics, checksums, synced writes) against the bare loop of the family's pipeline in diffusers, whose "
        "states are thrown away. Same weights, batch, steps and DDIM, one thread, random weights but for the digits. "
        "Figures are passes per second of CPU time of the process: median and range of repeats that take turns. The "
        "teacher is loaded, and its memory measured (one pass of one sample and one of two), before the clock starts."
        "\n\n"
        f"{table(['family', 'network', 'batch x steps', 'bare loop', 'precompute', 'ratio'], rows)}\n\n"
        f"To reach: a ratio of {GOAL} or more. Lowest median: {worst:.3f}, {verdict}.\n\n"
        "UNets run with channels last, but in torch's own format where the groups of the first normalisation have one "
        "channel each; the format decides the last bits of stored states. CPU time of a pass with channels last over "
        f"that of torch's own format, in which the bare loop runs: {', '.join(layouts)}.",
    )


if __name__ == "__main__":
    main()
