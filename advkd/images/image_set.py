"""Sets of real images: named, counted, hashed by content, and read batch by batch.

Nothing holds a whole set: pictures are decoded a few ahead of where they are used.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

_REMARKS = {"animated": "of several frames", "grey": "grey among coloured ones"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """A set of real images of one shape.

    Attributes:
        name: name in reports, such as "real cats".
        sha256: hash of the content, whatever the place, and of nothing about the shape.
        count: number of images.
        shape: `[C, H, W]` of every image.
        rule: in words, how pictures became images of this shape.
        read: yields the images with the given numbers, in this order, float32 in [-1, 1].
        skipped: number of pictures that are no images of the set, by reason.
        noted: number of images about which a report should say something, by remark: "animated", "grey" among
            coloured ones, "cropped", "enlarged".
    """

    name: str
    sha256: str
    count: int
    shape: tuple[int, int, int]
    rule: str
    read: Callable[[Sequence[int]], Iterator[Tensor]] = field(repr=False)
    skipped: Mapping[str, int] = field(default_factory=dict)
    noted: Mapping[str, int] = field(default_factory=dict)

    @property
    def remarks(self) -> str:
        """What a report says of the pictures: how many were left out and why, and what was done to others; or ""."""
        said = []
        if self.skipped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items()))
            said.append(f"{sum(self.skipped.values())} pictures that cannot be read were left out ({reasons}).")
        if self.noted:
            counts = (f"{count} {_REMARKS.get(remark, remark)}" for remark, count in self.noted.items())
            said.append(f"Of the {self.count} real pictures: {', '.join(counts)}.")
        return " ".join(said)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yields all images in order, `[B, C, H, W]` in [-1, 1] with B at most `size`."""
        if size < 1:
            raise ValueError(f"a batch has at least one image, got a size of {size}; give a larger one")
        batch: list[Tensor] = []
        for image in self.read(range(self.count)):
            batch.append(image)
            if len(batch) == size:
                yield torch.stack(batch)
                batch = []
        if batch:
            yield torch.stack(batch)

    def image(self, number: int) -> Tensor:
        """Returns one image, `[C, H, W]` in [-1, 1]; raises `IndexError` if there is none with this number."""
        if not 0 <= number < self.count:
            raise IndexError(f"{self.name} has the images 0 to {self.count - 1}, got {number}; ask for one of them")
        return next(iter(self.read([number])))


def tensor_set(name: str, images: Tensor, sha256: str, rule: str) -> ImageSet:
    """Returns a set of images `[N, C, H, W]` in memory."""
    channels, height, width = images.shape[1:]
    return ImageSet(
        name=name,
        sha256=sha256,
        count=len(images),
        shape=(channels, height, width),
        rule=rule,
        read=lambda numbers: (images[number] for number in numbers),
    )
