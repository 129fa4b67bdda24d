"""`make bench-train`: student training steps per second and where they go.

One process, one torch thread, the `quick` recipe on a small store of the closed-form teacher. Data: the loader's
share. Student: a step of distillation alone. Discriminator: what an adversarial step takes beyond that (its own update,
the student's gradient through it, the balance of the two gradients).
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from advkd.device.threads import no_denormals, torch_threads
from advkd.presets import preset
from advkd.training.data import to_torch
from advkd.training.methods.layerwise import LayerwiseMethod
from advkd.trajectories import PrecomputeSpec, precompute
from benchmarks.measure import medians, seconds_per_call, table, write
from storage import TrajectoryLoader, open_store

CALLS = 24


@torch_threads(1)
@no_denormals()
def measure(store: str, precision: str) -> dict[str, float]:
    spec = replace(preset("quick").train, precision=precision, threads=1)
    manifest = open_store(store).manifest
    distilling = LayerwiseMethod(replace(spec, warmup=1.0), manifest.spec)
    playing = LayerwiseMethod(replace(spec, warmup=0.0), manifest.spec)
    loader = TrajectoryLoader(store, batch_size=spec.batch_size, seed=0, window=spec.window)
    batches = iter(loader)
    device = torch.device("cpu")
    batch = to_torch(next(batches), manifest.spec.timesteps, device)
    data = seconds_per_call(lambda: to_torch(next(batches), manifest.spec.timesteps, device), 2 * CALLS, warm=4)
    student = seconds_per_call(lambda: distilling.step(batch), CALLS)
    both = seconds_per_call(lambda: playing.step(batch), CALLS)
    return {"data": data, "student": student, "discriminator": both - student, "adversarial step": data + both}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = precompute(PrecomputeSpec(teacher="mixture", store=str(Path(folder)), samples=1024, shard_samples=256))
        # Both precisions in every repeat, so that a slow moment of the machine hits both.
        found = medians(lambda: {precision: measure(made.uri, precision) for precision in ("float32", "bfloat16")})
    rows = []
    for precision, seconds in found.items():
        whole = seconds["adversarial step"]
        distilling = seconds["data"] + seconds["student"]
        shares = [f"{seconds[part] / whole:.1%}" for part in ("data", "student", "discriminator")]
        rows.append([precision, f"{1 / distilling:.1f}", f"{1 / whole:.1f}", *shares])
    gain = found["float32"]["adversarial step"] / found["bfloat16"]["adversarial step"]
    header = ["precision", "steps/s, distillation", "steps/s, adversarial", "data", "student", "discriminator"]
    write(
        "train",
        "# Training steps\n\n"
        "`make bench-train`: the `quick` student (0.15 M parameters, 16x16 images), batches of 64, one thread. Figures "
        "are medians of three repeats; the last three columns are shares of an adversarial step. Absolute figures "
        "depend on the machine; the ratios were taken in one run.\n\n"
        f"{table(header, rows)}\n\nbfloat16 autocast is {gain:.2f}x as fast as float32 per adversarial step.",
    )


if __name__ == "__main__":
    main()
