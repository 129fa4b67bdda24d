"""Images as a `preprocessor_config.json` of transformers' states it: the processors of CLIP and BiT (DINOv2).

Whole numbers, shorter side resized by PIL, the middle cut out, scaled, normalised; as transformers does it with PIL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from advkd.features.base import InputRule
from advkd.features.errors import FeatureError
from advkd.features.hub_models import PREPROCESSOR, read_config
from advkd.features.pictures import as_rgb, normalised, pil_resized, whole_numbers

_KINDS = ("CLIPImageProcessor", "BitImageProcessor", "ViTImageProcessor")


@dataclass(frozen=True, kw_only=True)
class Processing:
    """What is done to images `[B, C, H, W]`.

    Attributes:
        shortest: length of the shorter side after resizing; None: `resized` says both.
        resized: height and width after resizing; None with `shortest` None: nothing is resized.
        resample: PIL's filter.
        cropped: height and width of the middle that is kept; None: all.
        factor: that pixels of [0, 255] are multiplied by.
        mean: that is subtracted then, of each channel.
        deviation: that is divided by, of each channel.
    """

    shortest: int | None
    resized: tuple[int, int] | None
    resample: Image.Resampling
    cropped: tuple[int, int] | None
    factor: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, folder: Path) -> "Processing":
        """Reads what the model's own preprocessor states.

        Raises:
            FeatureError: there is none, it is of another kind, or does not say what it does.
        """
        config = read_config(folder, PREPROCESSOR)
        name = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
        kind = name.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
        if kind not in _KINDS:
            raise FeatureError(
                f"a preprocessor must be one of {list(_KINDS)}, got {name!r} in {folder}; give another model with "
                "--weights"
            )
        try:
            shortest, resized = _sizes(config["size"]) if config.get("do_resize", True) else (None, None)
            crops = config.get("do_center_crop", kind != "ViTImageProcessor")
            normal = config.get("do_normalize", True)
            return cls(
                shortest=shortest,
                resized=resized,
                resample=Image.Resampling(int(config.get("resample", Image.Resampling.BICUBIC))),
                cropped=_both(config["crop_size"]) if crops else None,
                factor=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
                mean=tuple(map(float, config["image_mean"])) if normal else (0.0,),
                deviation=tuple(map(float, config["image_std"])) if normal else (1.0,),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FeatureError(
                f"a {PREPROCESSOR} must say size, crop_size, image_mean and image_std, got {error!r} in {folder}; save "
                "the processor again"
            ) from error

    def __call__(self, images: Tensor) -> Tensor:
        """Returns what the model takes of images `[B, C, H, W]` in [-1, 1]: float32 `[B, 3, H', W']`."""
        pixels = as_rgb(whole_numbers(images))
        size = self._resized(pixels.shape[2], pixels.shape[3])
        if size is not None:
            pixels = pil_resized(pixels, size, self.resample)
        if self.cropped is not None:
            pixels = _middle(pixels, self.cropped)
        return normalised(pixels.float() * self.factor, self.mean, self.deviation)

    @property
    def rule(self) -> InputRule:
        """What is done, as metrics state it."""
        size = self.cropped or self.resized
        filtered = f"PIL, {self.resample.name.lower()}, antialiased"
        by = f"the shorter side to {self.shortest} by {filtered}" if self.shortest else filtered
        cut = ", the middle cut out" if self.cropped else ""
        mean, deviation = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.deviation))
        scaled = "/ 255" if abs(self.factor * 255 - 1) < 1e-6 else f"* {self.factor:.6g}"
        return InputRule(
            channels=3,
            size=size[0] if size is not None else None,
            resizing=f"{by}{cut}" if self.shortest or self.resized else "none",
            values=f"[0, 255] rounded to whole numbers, {scaled}, then less {mean}, by {deviation}",
        )

    def _resized(self, height: int, width: int) -> tuple[int, int] | None:
        if self.shortest is None:
            return self.resized
        # As transformers: the longer side is cut down to a whole number.
        short, long = sorted((height, width))
        longer = int(self.shortest * long / short)
        return (self.shortest, longer) if height <= width else (longer, self.shortest)


def _sizes(size: Any) -> tuple[int | None, tuple[int, int] | None]:
    if isinstance(size, int):
        return size, None
    if "shortest_edge" in size:
        return int(size["shortest_edge"]), None
    return None, _both(size)


def _both(size: int | Mapping[str, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size["height"]), int(size["width"]))


def _middle(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Cuts the middle out; what is too small is framed in black, as transformers does it."""
    from torch.nn.functional import pad

    height, width = pixels.shape[2:]
    missing = [max(0, wanted - there) for wanted, there in zip(size, (height, width), strict=True)]
    if any(missing):
        above, left = (-(-part // 2) for part in missing)
        pixels = pad(pixels, (left, missing[1] - left, above, missing[0] - above))
        height, width = pixels.shape[2:]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return pixels[:, :, top : top + size[0], left : left + size[1]]
