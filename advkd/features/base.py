"""What an extractor is: its protocol, how it treats images, and what it is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from advkd.teachers import Teacher


@dataclass(frozen=True, kw_only=True)
class InputRule:
    """How an extractor turns images `[B, C, H, W]` in [-1, 1] into what its network takes.

    Attributes:
        channels: of what the network takes; None: those of the images.
        size: height and width of what the network takes; None: those of the images.
        resizing: how images come to that size, such as "PIL, bicubic, antialiased"; "none".
        values: of what the network takes, such as "[0, 255] rounded to whole numbers, then (x - 128) / 128".
    """

    channels: int | None = None
    size: int | None = None
    resizing: str = "none"
    values: str = "[-1, 1] as they are"

    @property
    def words(self) -> str:
        """The rule as a part of a sentence."""
        channels = {1: "grey", 3: "RGB", None: "images"}.get(self.channels, f"{self.channels} channels")
        repeated = " (grey images repeated)" if self.channels == 3 else ""
        sized = "as large as they are" if self.size is None else f"{self.size}x{self.size} ({self.resizing})"
        return f"{channels}{repeated}, {sized}, values {self.values}"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a row of `FEATURES` is called with.

    Attributes:
        teacher: whose images are looked at.
        weights: of the extractor: a file, folder or hub id; None: where the extractor looks by itself.
        device: where its network computes.
    """

    teacher: Teacher
    weights: str | None = None
    device: str = "cpu"


class Extractor(Protocol):
    """Maps images to feature vectors."""

    @property
    def name(self) -> str:
        """Name in the table; part of the metrics' names, as in `FD(digits)`."""

    @property
    def sha256(self) -> str:
        """sha256 of the weights and of whatever else the features depend on; part of every metric's protocol."""

    @property
    def dims(self) -> int:
        """Length of a feature vector."""

    @property
    def rule(self) -> InputRule:
        """How images are treated."""

    def accepts(self, shape: Sequence[int]) -> bool:
        """Returns whether the extractor takes images `[C, H, W]` of this shape."""

    def __call__(self, images: Tensor) -> Tensor:
        """Computes the features of images `[B, C, H, W]` in [-1, 1], float32: float32 `[B, dims]` on the CPU."""


@runtime_checkable
class StateExtractor(Protocol):
    """An extractor that takes a teacher's states themselves, so that latents need not be decoded."""

    def of_states(self, states: Tensor) -> Tensor:
        """Computes the features of states `[B, C, H, W]` of the teacher: float32 `[B, dims]` on the CPU."""


@runtime_checkable
class TextExtractor(Protocol):
    """An extractor whose features of texts can be compared with those of images by their angle."""

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Computes the features of N texts: float32 `[N, dims]` on the CPU."""


@dataclass(frozen=True)
class Reader:
    """The classifier behind an extractor's features.

    Attributes:
        names: of its classes, in their order.
        logits: maps features `[N, D]` to logits `[N, len(names)]`.
    """

    names: tuple[str, ...]
    logits: Callable[[Tensor], Tensor]


@runtime_checkable
class ReadingExtractor(Protocol):
    """An extractor whose features a classifier reads; None where this one has none."""

    @property
    def reader(self) -> Reader | None:
        """The classifier."""
