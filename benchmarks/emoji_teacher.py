"""`python -m benchmarks.emoji_teacher TEACHER`: how good the teacher `emoji` is, and how much of it is memory.

Its samples' distance to the half of the emoji that it was trained on, beside the half that it has never seen; and how
near they lie to a training image, mirrored and shifted as in training, beside how near the unseen half lies. Prints a
table, and saves samples above their nearest training images.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from advkd.distances import collected, frechet_distance, manifold_scores
from advkd.evaluation import grid_png
from advkd.features import Extractor, chosen_features
from advkd.teachers import load_teacher
from advkd.teachers.emoji.batches import SHIFT, draw_batch, moved
from advkd.teachers.emoji.data import EmojiImages, images_in, read_emoji
from advkd.teachers.emoji.package import emoji_package
from benchmarks.emoji_samples import sampled
from benchmarks.measure import table

_SHOWN, _COLUMNS = 64, 16


@dataclass(frozen=True)
class Nearest:
    """Of each image: RMS distance in [-1, 1] to the nearest training image, and that image, as training moves it."""

    distances: Tensor
    images: Tensor


def nearest(images: Tensor, training: EmojiImages) -> Nearest:
    """Finds the nearest of all training images, shifted by up to two pixels and, where training does so, mirrored.

    Args:
        images: float32 `[N, 3, 32, 32]` in [-1, 1].
        training: images that were trained on.
    """
    best = torch.full((len(images),), torch.inf)
    where = torch.zeros_like(images)
    for mirrored in (False, True):
        kept = training.part(training.mirrored) if mirrored else training
        flipped = torch.full((len(kept.pixels),), mirrored)
        for down in range(-SHIFT, SHIFT + 1):
            for right in range(-SHIFT, SHIFT + 1):
                shifts = (torch.full((len(kept.pixels),), shift) for shift in (down, right))
                candidates = images_in(moved(kept.pixels, flipped, *shifts))
                distances, numbers = torch.cdist(images.flatten(1), candidates.flatten(1)).min(1)
                closer = distances < best
                best[closer] = distances[closer]
                where[closer] = candidates[numbers[closer]]
    return Nearest(best / images[0].numel() ** 0.5, where)


def drawn(data: EmojiImages, count: int, seed: int = 0) -> Tensor:
    """Draws images as training does, evenly, shifted and mirrored: float32 `[count, 3, 32, 32]`."""
    return draw_batch(data, data.weights(), count, torch.Generator().manual_seed(seed)).images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher")
    parser.add_argument("--data", type=Path, help="The npm package of emoji; default: downloaded once.")
    parser.add_argument("--features", required=True, help="Name of an extractor of colour images.")
    parser.add_argument("--each", type=int, default=128, help="Samples of each group.")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("nearest.png"))
    chosen = parser.parse_args()
    teacher = load_teacher(chosen.teacher)
    data = read_emoji(emoji_package(chosen.data))
    training, unseen = data.part(~data.held_out), data.part(data.held_out)
    images = sampled(teacher, chosen.each, chosen.steps).clamp(-1, 1)
    print(_distances(chosen_features(chosen.features, teacher)[0], images, training, unseen), end="\n\n")
    near = nearest(images, training)
    print(_memory(near.distances, nearest(images_in(unseen.part(unseen.plain).pixels), training).distances))
    shown = torch.arange(0, len(images), max(1, len(images) // _SHOWN))[:_SHOWN]
    pairs = torch.cat([torch.cat([images[row], near.images[row]]) for row in shown.split(_COLUMNS)])
    chosen.out.write_bytes(grid_png(pairs, _COLUMNS))
    print(f"\n{chosen.out}: samples, and below each row the nearest training images")


def _distances(extractor: Extractor, images: Tensor, training: EmojiImages, unseen: EmojiImages) -> str:
    seen, other = (collected(extractor.name, extractor(drawn(half, len(images)))) for half in (training, unseen))
    again = collected(extractor.name, extractor(drawn(training, len(images), seed=1)))
    samples = collected(extractor.name, extractor(images))
    rows = []
    for name, features in (("samples", samples), ("training half, drawn again", again), ("held-out half", other)):
        scores = manifold_scores(features, seen)
        distances = (frechet_distance(features, reference) for reference in (seen, other))
        rows.append([name, *(f"{value:.2f}" for value in (*distances, scores.recall, scores.coverage))])
    head = [f"FD({extractor.name}) of", "to the training half", "to the held-out half", "recall", "coverage"]
    return table(head, rows)


def _memory(samples: Tensor, unseen: Tensor) -> str:
    limit = unseen.quantile(0.05).item()
    rows = [
        [name, f"{distances.median():.3f}", f"{(distances < limit).float().mean():.1%}"]
        for name, distances in (("samples", samples), ("held-out half", unseen))
    ]
    return table(["RMS to the nearest training image", "median", f"below {limit:.3f}"], rows)


if __name__ == "__main__":
    main()
