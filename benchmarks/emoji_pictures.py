"""`python -m benchmarks.emoji_pictures TEACHER --out FILE.png`: what the teacher draws, group by group, with names.

TEACHER is a source as for every command: `emoji`, a folder, with `#guidance=2` or without.
"""

import argparse
import io
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

from advkd.evaluation import grid_png
from advkd.teachers import load_teacher
from benchmarks.emoji_samples import group_names, sampled

_NAME_WIDTH = 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=64, help="Pictures of each group.")
    parser.add_argument("--columns", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    teacher = load_teacher(chosen.teacher)
    images = sampled(teacher, chosen.each, chosen.steps, chosen.seed)
    named_rows(images.split(chosen.each), group_names(teacher), chosen.columns).save(chosen.out)
    print(chosen.out)


def named_rows(groups: tuple[Tensor, ...], names: list[str], columns: int) -> Image.Image:
    """Draws each group's images `[N, C, H, W]` in rows of `columns`, below each other, with its name at the left."""
    blocks = [Image.open(io.BytesIO(grid_png(images.clamp(-1, 1), columns))).convert("RGB") for images in groups]
    width = _NAME_WIDTH + max(block.width for block in blocks)
    page = Image.new("RGB", (width, sum(block.height for block in blocks)), "white")
    draw, top = ImageDraw.Draw(page), 0
    for name, block in zip(names, blocks, strict=True):
        draw.text((6, top + 8), name, fill="black", font_size=16)
        page.paste(block, (_NAME_WIDTH, top))
        top += block.height
    return page


if __name__ == "__main__":
    main()
