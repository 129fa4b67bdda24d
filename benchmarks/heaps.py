"""`make bench-heaps`: CPU time and memory of a teacher's passes, with and without `advkd.runtime.kept_heap`.

Each figure is that of a process of its own with one thread; the two take turns.
"""

import argparse
import resource
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from benchmarks.cache_process import call, peak_bytes
from benchmarks.measure import REPEATS, figures, interleaved, ratios, spread, table, write

CASES = {"emoji": 64, "random weights, 3x64x64": 32}
"""Samples that go through each network at once."""
_PASSES = 6


def main() -> None:
    # By its name, not as `__main__`: the other process imports it.
    from benchmarks import heaps

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true", help="write docs/benchmarks/heaps.md")
    chosen = options.parse_args()
    rows = []
    for name, batch in CASES.items():
        found: dict[str, list[dict[str, float]]] = {"kept": [], "given back": []}

        def case(how: str, name: str = name, found: dict[str, list[dict[str, float]]] = found) -> Callable[[], float]:
            def run() -> float:
                found[how].append(call(heaps.measured, name, how == "kept", environment={"OMP_NUM_THREADS": "1"}))
                return found[how][-1]["cpu"]

            return run

        runs = interleaved({how: case(how) for how in found})
        for how, each in found.items():
            rows.append(
                [
                    name,
                    str(batch),
                    how,
                    spread(figures(runs, how), ".1f"),
                    spread([one["system"] for one in each], ".1f"),
                    spread([one["peak"] / 1e6 for one in each], ".0f"),
                    "1" if how == "given back" else spread(ratios(runs, "kept", "given back")),
                ]
            )
    header = ["network", "batch", "freed memory", "ms of CPU a pass", "of that in the system", "peak, MB", "ratio"]
    text = (
        "# Memory that a pass frees\n\n"
        "`make bench-heaps`: passes of two UNets on a CPU, one thread, where glibc gives freed memory back to the "
        "system, as it does by itself, and where the process keeps it (`advkd.runtime.kept_heap`). Medians of "
        f"{REPEATS} turns, each of a new process, with the lowest and the highest in brackets; milliseconds are of one "
        "sample.\n\n" + table(header, rows)
    )
    if chosen.write:
        write("heaps", text)
    else:
        print(text)


def measured(name: str, kept: bool) -> dict[str, float]:
    """Milliseconds of CPU time per pass of a sample, those in the system alone, and the process's peak in bytes."""
    from advkd.runtime import kept_heap

    torch.set_num_threads(1)
    network, shape = _network(name)
    batch = CASES[name]
    noise = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    labels = {"class_labels": torch.zeros(batch, dtype=torch.int64)} if name == "emoji" else {}
    with torch.inference_mode(), kept_heap() if kept else nullcontext():
        network(noise, torch.tensor(10), **labels)
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(_PASSES):
            network(noise, torch.tensor(10), **labels)
        after = resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    per_pass = 1e3 / (_PASSES * batch)
    return {
        "cpu": (after.ru_utime - before.ru_utime + system) * per_pass,
        "system": system * per_pass,
        "peak": peak_bytes(),
    }


def _network(name: str) -> tuple[Any, tuple[int, int, int]]:
    if name == "emoji":
        from advkd.teachers import load_teacher

        teacher = load_teacher("emoji")
        return teacher.network, teacher.space.shape
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=64,
        block_out_channels=(64, 128, 128),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
    )
    return unet.eval(), (3, 64, 64)


if __name__ == "__main__":
    main()
