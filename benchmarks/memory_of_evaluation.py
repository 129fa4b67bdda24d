"""`make bench-memory`: what an evaluation holds, besides its networks, does not grow with the number of images.

Images are made up and the extractor is a mean over pixels, so that what is measured is ours: streaming, moments, kept
features and the distances. Each number of images has a process of its own.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from advkd.distances import (
    frechet_deviation,
    frechet_distance,
    kernel_distance,
    manifold_scores,
    maximum_mean_discrepancy,
)
from advkd.images import ImageSet, extracted
from benchmarks.cache_process import call, peak_bytes
from benchmarks.measure import table, write

SHAPE = (3, 256, 256)
DIMS = 2048
ALLOWED = 2e9


def main() -> None:
    # By its name, not as `__main__`: the other process imports it.
    from benchmarks import memory_of_evaluation

    options = _options()
    with ThreadPoolExecutor() as pool:
        figures = list(pool.map(lambda count: call(memory_of_evaluation.measured, count), options.counts))
    rows = [[f"{count:,}".replace(",", " "), *_cells(one)] for count, one in zip(options.counts, figures, strict=True)]
    held = figures[-1]["distances"]
    whole = options.counts[-1] * SHAPE[0] * SHAPE[1] * SHAPE[2] * 4 / 1e9
    text = (
        "# Memory of an evaluation\n\n"
        f"`make bench-memory` streams made-up images of {'x'.join(map(str, SHAPE))} through a stub extractor of {DIMS} "
        "dimensions, and compares the set with another one of 10 000: Frechet distance and its deviation, kernel "
        "distance, precision and recall, CMMD. Peaks of resident memory, less that of the interpreter with torch "
        "imported, and CPU seconds of one thread. "
        f"To reach: under 2 GB with 50 000 images. Measured with {options.counts[-1]}, which are {whole:.0f} GB "
        f"in memory: {held / 1e9:.2f} GB, {'reached' if held < ALLOWED else 'missed'}.\n\n"
        + table(["images", "peak of streaming", "peak with distances", "streaming", "distances"], rows)
    )
    if options.write:
        write("memory_of_evaluation", text)
    else:
        print(text)


def measured(count: int) -> dict[str, float]:
    """Peaks in bytes and seconds of one number of images."""
    torch.set_num_threads(1)
    before, began = peak_bytes(), time.process_time()
    images, extractor = made_up(count), Stub()
    features = extracted(images.name, images.batches(64), count, extractor)
    streaming, streamed = peak_bytes() - before, time.process_time()
    generator = torch.Generator().manual_seed(1)
    noise = (torch.randn(100, DIMS, generator=generator) * 0.06 for _ in range(100))
    other = extracted("other", noise, 10_000, Given())
    began_distances = time.process_time()
    distances = [measure(features, other) for measure in (frechet_distance, kernel_distance, manifold_scores)]
    distances += [frechet_deviation(features, other), maximum_mean_discrepancy(features, other)]
    assert None not in distances
    return {
        "streaming": streaming,
        "distances": peak_bytes() - before,
        "seconds": streamed - began,
        "distance_seconds": time.process_time() - began_distances,
    }


class Stub:
    """Means over 96 values each."""

    name, sha256, dims = "stub", "", DIMS

    def accepts(self, shape: tuple[int, int, int]) -> bool:
        return shape == SHAPE

    def __call__(self, images: Tensor) -> Tensor:
        return images.reshape(len(images), DIMS, -1).mean(2)


class Given(Stub):
    """Features that are there already."""

    def __call__(self, images: Tensor) -> Tensor:
        return images


def made_up(count: int) -> ImageSet:
    """A set of noise: every image is another stretch of one long tensor, copied as a decoded picture would be."""
    size = SHAPE[0] * SHAPE[1] * SHAPE[2]
    noise = torch.randn(2 * size, generator=torch.Generator().manual_seed(0)).clamp_(-3.0, 3.0) / 3.0

    def read(numbers: Sequence[int]) -> Iterator[Tensor]:
        for number in numbers:
            start = number * 7919 % size
            yield noise[start : start + size].reshape(SHAPE).clone()

    return ImageSet(name="made up", sha256="0" * 64, count=count, shape=SHAPE, rule="none", read=read)


def _cells(figures: dict[str, float]) -> list[str]:
    peaks = [f"{figures[name] / 1e9:.2f} GB" for name in ("streaming", "distances")]
    return [*peaks, *(f"{figures[name]:.0f} s" for name in ("seconds", "distance_seconds"))]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[5_000, 50_000], help="numbers of images")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/memory_of_evaluation.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
