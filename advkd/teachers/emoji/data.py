"""Noto emoji as 32x32 images with their groups: the data of the embedded teacher `emoji`."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from advkd.teachers.emoji.groups import GROUPS, group_of, is_held_out, may_be_mirrored, motif_of

RESOLUTION = 32
SHAPE = (3, RESOLUTION, RESOLUTION)
MARGIN = 1
"""White pixels around a picture, which with the margin in the picture leave room for shifts."""

_JSON = "package/emoji.json"
_PICTURES = "package/img/google/64"


@dataclass(frozen=True, kw_only=True)
class EmojiImages:
    """Emoji in Unicode's order, skin tones after the emoji itself.

    Attributes:
        pixels: uint8 `[N, 3, 32, 32]`.
        groups: int64 `[N]`, indices into `GROUPS`.
        motifs: int64 `[N]`, equal for variants of the same motif.
        mirrored: bool `[N]`, whether the mirrored picture is an emoji of the group as well.
        held_out: bool `[N]`, whether the picture is in the half that is never trained on.
        plain: bool `[N]`, whether it is an entry of its own and no skin tone of one.
        names: short names, such as `pizza`.
    """

    pixels: Tensor
    groups: Tensor
    motifs: Tensor
    mirrored: Tensor
    held_out: Tensor
    plain: Tensor
    names: tuple[str, ...]

    def part(self, chosen: Tensor) -> "EmojiImages":
        """Returns the images where `chosen`, bool `[N]`, is true."""
        return EmojiImages(
            pixels=self.pixels[chosen],
            groups=self.groups[chosen],
            motifs=self.motifs[chosen],
            mirrored=self.mirrored[chosen],
            held_out=self.held_out[chosen],
            plain=self.plain[chosen],
            names=tuple(name for name, kept in zip(self.names, chosen.tolist(), strict=True) if kept),
        )

    def weights(self) -> Tensor:
        """Returns the probability of each image, float64 `[N]`: groups evenly, motifs in them, variants in these."""
        weights = torch.zeros(len(self.groups), dtype=torch.float64)
        for group in self.groups.unique():
            inside = self.groups == group
            motifs, numbers, variants = self.motifs[inside].unique(return_inverse=True, return_counts=True)
            weights[inside] = 1.0 / (len(motifs) * variants[numbers].double())
        return weights / weights.sum()


def images_in(pixels: Tensor) -> Tensor:
    """Returns uint8 pixels as float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1.0


def read_emoji(package: Path) -> EmojiImages:
    """Reads the pictures of an npm package `emoji-datasource-google`.

    Their alpha is composited onto white, and they are resized by PIL's antialiased bicubic filter to 30x30 in the
    middle of a white square of 32x32.

    Raises:
        ValueError: the file is no such package.
    """
    try:
        with tarfile.open(package) as archive:
            rows = list(_rows(archive))
    except (tarfile.TarError, KeyError, OSError) as error:
        raise ValueError(
            f"the pictures of emoji must be an npm package with {_JSON} and {_PICTURES}/, "
            f"got {str(error).splitlines()[0]} in {package}; "
            "fetch emoji-datasource-google again"
        ) from error
    motifs = sorted({row.motif for row in rows})
    return EmojiImages(
        pixels=torch.from_numpy(np.stack([row.pixels for row in rows])).permute(0, 3, 1, 2).contiguous(),
        groups=torch.tensor([GROUPS.index(row.group) for row in rows]),
        motifs=torch.tensor([motifs.index(row.motif) for row in rows]),
        mirrored=torch.tensor([may_be_mirrored(row.group) for row in rows]),
        held_out=torch.tensor([is_held_out(row.motif) for row in rows]),
        plain=torch.tensor([row.plain for row in rows]),
        names=tuple(row.name for row in rows),
    )


@dataclass(frozen=True)
class _Row:
    name: str
    group: str
    motif: str
    plain: bool
    pixels: Any


def _rows(archive: tarfile.TarFile) -> Iterator[_Row]:
    files = _files(archive)
    entries = json.loads(files[_JSON])
    for entry in sorted(entries, key=lambda entry: (entry["sort_order"], entry["unified"])):
        group = group_of(entry)
        if group is None:
            continue
        for variant in (entry, *(entry.get("skin_variations", {}).values())):
            picture = files[f"{_PICTURES}/{variant['image']}"]
            yield _Row(entry["short_name"], group, motif_of(entry), variant is entry, _pixels(picture))


def _files(archive: tarfile.TarFile) -> dict[str, bytes]:
    """Reads in the archive's own order: whoever goes back in it decompresses it anew."""
    contents = {}
    for member in archive:
        if member.isfile() and (member.name == _JSON or member.name.startswith(f"{_PICTURES}/")):
            file = archive.extractfile(member)
            assert file is not None
            contents[member.name] = file.read()
    return contents


def _pixels(picture: bytes) -> Any:
    with Image.open(io.BytesIO(picture)) as opened:
        coloured = opened.convert("RGBA")
    opaque = Image.new("RGBA", coloured.size, "white")
    opaque.alpha_composite(coloured)
    side = RESOLUTION - 2 * MARGIN
    small = opaque.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    square = Image.new("RGB", (RESOLUTION, RESOLUTION), "white")
    square.paste(small, (MARGIN, MARGIN))
    return np.asarray(square)
