"""One's own network as an extractor: an ONNX or TorchScript file, with what it takes declared in a JSON beside it.

    model.onnx
    model.onnx.json    {"channels": 3, "size": 224, "resizing": "pil-bicubic", "values": [-1, 1]}

It takes images `[B, channels, size, size]`, float32, of pixels that are whole numbers of [0, 255] brought to `values`,
and gives `[B, D]`. Nothing is guessed: what is not declared is refused.
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advkd.features.base import Asked, InputRule
from advkd.features.errors import FeatureError
from advkd.features.extractor import FeatureExtractor
from advkd.features.pictures import BICUBIC, BILINEAR, as_rgb, pil_resized, tf_bilinear, whole_numbers
from advkd.files import file_sha256

ONNX, TORCHSCRIPT = ".onnx", ".pt"
_RESIZINGS = {
    "none": "none",
    "pil-bicubic": "PIL, bicubic, antialiased",
    "pil-bilinear": "PIL, bilinear, antialiased",
    "tf1-bilinear": "bilinear as in TensorFlow 1, not antialiased",
}
_KEYS = {"channels", "size", "resizing", "values"}
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_BATCH = 32


def is_network_file(name: str) -> bool:
    """Returns whether an extractor is named by the file of its network."""
    return name.endswith((ONNX, TORCHSCRIPT))


@dataclass(frozen=True, kw_only=True)
class DeclaredInput:
    """What a network takes.

    Attributes:
        channels: number of its channels.
        size: height and width; None: those of the images.
        resizing: a name of `_RESIZINGS`.
        values: what pixels of 0 and of 255 become.
    """

    channels: int
    size: int | None
    resizing: str
    values: tuple[float, float]

    @classmethod
    def beside(cls, file: Path) -> "DeclaredInput":
        """Reads the JSON beside a network's file.

        Raises:
            FeatureError: there is none, or it does not say everything.
        """
        place = file.with_name(f"{file.name}.json")
        shape = (
            '{"channels": 3, "size": 224 or null, "resizing": "' + '" or "'.join(_RESIZINGS) + '", "values": [-1, 1]}'
        )
        try:
            told = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FeatureError(
                f"what a network takes must be declared beside it, got {type(error).__name__} for {place}; write "
                f"{shape}"
            ) from error
        if not isinstance(told, dict) or set(told) != _KEYS:
            raise FeatureError(
                f"what a network takes must be declared by {sorted(_KEYS)}, got {told!r} in {place}; write {shape}"
            )
        channels, size, values = told["channels"], told["size"], told["values"]
        right = (
            _positive(channels)
            and (size is None or _positive(size))
            and told["resizing"] in _RESIZINGS
            and (size is None) == (told["resizing"] == "none")
            and isinstance(values, list)
            and len(values) == 2
            and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
            and values[0] < values[1]
        )
        if not right:
            raise FeatureError(
                f"what a network takes must be declared as {shape}, with resizing none where size is null, got "
                f"{told!r} in {place}; correct it"
            )
        return cls(channels=channels, size=size, resizing=told["resizing"], values=(float(values[0]), float(values[1])))

    @property
    def rule(self) -> InputRule:
        """What is done to images, as metrics state it."""
        low, high = self.values
        return InputRule(
            channels=self.channels,
            size=self.size,
            resizing=_RESIZINGS[self.resizing],
            values=f"[0, 255] rounded to whole numbers, brought to [{low:g}, {high:g}]",
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Returns what the network takes of images `[B, C, H, W]` in [-1, 1]."""
        pixels = whole_numbers(images)
        pixels = as_rgb(pixels) if self.channels == 3 else pixels
        if self.size is not None and self.resizing == "tf1-bilinear":
            values = tf_bilinear(pixels.float(), self.size)
        elif self.size is not None:
            filtered = BICUBIC if self.resizing == "pil-bicubic" else BILINEAR
            values = pil_resized(pixels, (self.size, self.size), filtered).float()
        else:
            values = pixels.float()
        low, high = self.values
        return values / 255.0 * (high - low) + low


def declared_extractor(name: str, asked: Asked) -> FeatureExtractor:
    """Returns the extractor of a network's file; its name is the file's without its ending.

    Raises:
        FeatureError: the file or its declaration is not as it must be, onnxruntime is not installed, or the network
            does not take the teacher's images.
    """
    file = Path(name)
    if not file.is_file() or not _NAME.fullmatch(file.stem):
        raise FeatureError(
            f"a network's file must be there, with a name of letters, digits, '_', '.' and '-', got {name!r}; correct "
            "the path"
        )
    declared = DeclaredInput.beside(file)
    run = (_onnx if file.suffix == ONNX else _torchscript)(file, asked.device)
    shape = asked.teacher.space.image_shape
    extractor = FeatureExtractor(
        file.stem,
        _sha256(file, declared),
        0,
        lambda images: run(declared(images)),
        rule=declared.rule,
        device=asked.device,
        batch=_BATCH,
    )
    return _with_dims(extractor, shape, file) if extractor.accepts(shape) else extractor


def _with_dims(extractor: FeatureExtractor, shape: tuple[int, ...], file: Path) -> FeatureExtractor:
    """Two images are looked at: so a network that does not take them is refused before anything is computed."""
    from dataclasses import replace

    try:
        features = extractor(torch.zeros(2, *shape))
    except Exception as error:
        raise FeatureError(
            f"a network must take what is declared beside it, got {type(error).__name__} ({_last_line(error)}) from "
            f"{file}; correct the declaration"
        ) from error
    if features.ndim != 2 or len(features) != 2:
        raise FeatureError(
            f"a network must give features [B, D], got {list(features.shape)} for two images from {file}; pool and "
            "flatten them"
        )
    return replace(extractor, dims=features.shape[1])


def _last_line(error: Exception) -> str:
    """What went wrong, of the traceback that TorchScript puts into its message."""
    return (str(error).strip().splitlines() or [""])[-1][:200]


def _sha256(file: Path, declared: DeclaredInput) -> str:
    told = [file_sha256(file), declared.channels, declared.size, declared.resizing, declared.values]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _onnx(file: Path, device: str) -> Callable[[Tensor], Tensor]:
    if importlib.util.find_spec("onnxruntime") is None:
        raise FeatureError(
            f"an ONNX file needs the package onnxruntime, got {file} and no such package; install it: "
            "pip install onnxruntime"
        )
    import onnxruntime

    wanted = "CUDAExecutionProvider" if torch.device(device).type == "cuda" else "CPUExecutionProvider"
    try:
        session = onnxruntime.InferenceSession(str(file), providers=[wanted])
    except Exception as error:
        raise FeatureError(
            f"an ONNX file must be one that onnxruntime runs, got {type(error).__name__} for {file}; export it again"
        ) from error
    taken = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {taken: images.cpu().numpy()})[0])


def _torchscript(file: Path, device: str) -> Callable[[Tensor], Tensor]:
    import warnings

    try:
        with warnings.catch_warnings():
            # torch would rather have files of torch.export, which hold pickles.
            warnings.simplefilter("ignore", DeprecationWarning)
            network: Any = torch.jit.load(str(file), map_location=device)
    except RuntimeError as error:
        raise FeatureError(
            f"a .pt file must be TorchScript, got another in {file}; save it with torch.jit.save, as other pickles are "
            "never loaded"
        ) from error
    frozen: Callable[[Tensor], Tensor] = network.eval()
    return frozen


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
