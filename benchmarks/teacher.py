"""`make bench-teacher`: network passes per second of the embedded teacher, with one and two threads of shards."""

import time
from concurrent.futures import ThreadPoolExecutor

import torch

from advkd.diffusion import Start
from advkd.teachers import SolverSpec, load_teacher
from benchmarks.measure import medians, table, write
from storage.records.seeding import initial_noise

BATCH = 128
STEPS = 10
BATCHES = 4


def passes_per_second(workers: int) -> float:
    teacher, solver = load_teacher("digits"), SolverSpec(steps=STEPS)
    noise = torch.from_numpy(initial_noise(0, 0, BATCH, teacher.space.shape))

    def one(_: int) -> None:
        list(teacher.states(Start(noise), solver, (999, 0)))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, range(workers)))
        began = time.perf_counter()
        list(pool.map(one, range(workers * BATCHES)))
        return workers * BATCHES * BATCH * STEPS / (time.perf_counter() - began)


def main() -> None:
    # One torch thread per worker, as `precompute` runs them.
    torch.set_num_threads(1)
    found = medians(lambda: {"passes": {"one": passes_per_second(1), "two": passes_per_second(2)}})["passes"]
    rows = [["1", f"{found['one']:.0f}"], ["2", f"{found['two']:.0f}"]]
    write(
        "teacher",
        "# Passes per second of the embedded teacher\n\n"
        f"`make bench-teacher`: a network of 1.05 M parameters on 16x16 images, in batches of {BATCH} and float32. "
        "Figures are medians of three repeats on two shared CPU cores.\n\n"
        f"{table(['workers, one torch thread each', 'passes/s'], rows)}\n\n"
        f"Two workers do {found['two'] / found['one']:.2f}x the work of one.",
    )


if __name__ == "__main__":
    main()
