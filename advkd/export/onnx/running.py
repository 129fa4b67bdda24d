"""Images of a distilled student in ONNX Runtime, one pass each; needs onnxruntime and numpy, and nothing else.

    student = Student(".")                    # the folder of this file
    images = student.images(16, seed=0)       # float32 [16, C, H, W] in [0, 1]
    open("0.png", "wb").write(png(images[0]))

This file travels with every export, as `advkd_onnx.py`, so it must not import the package it was written in.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnxruntime

FORMAT = "advkd-onnx-1"
METADATA = "metadata.json"
Array = npt.NDArray[Any]
_MAX_SEED = 2**63
_CONDITION_COUNTER = (0, 0, 0, 1)
_STORED_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class ExportedStudentError(ValueError):
    """A folder holds no export that this file can run; the message says why and what can be done."""


class Student:
    """A student in ONNX Runtime.

    Attributes:
        metadata: content of `metadata.json`.
        precision: of the network that runs.
        shape: `[C, H, W]` of a noise.
        session: of ONNX Runtime.
    """

    def __init__(
        self,
        folder: str | Path,
        precision: str | None = None,
        threads: int | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        """Opens an export.

        Args:
            folder: with `metadata.json` and networks.
            precision: fp32, fp16 or int8; None: the first that the folder has.
            threads: of ONNX Runtime; None: as many as the machine has cores.
            providers: of ONNX Runtime, the first that can is used.

        Raises:
            ExportedStudentError: the folder is no export, has no such precision, or its network is damaged, another
                one, or needs a newer ONNX Runtime.
        """
        self.metadata = read_metadata(folder)
        models = self.metadata["models"]
        self.precision = precision or next(iter(models))
        if self.precision not in models:
            raise ExportedStudentError(
                f"the precision must be one of {', '.join(models)}, got {precision!r}; export the student again with it"
            )
        self.shape = tuple(self._input("noise")["shape"][1:])
        self.session = _opened(Path(folder), models[self.precision], self.metadata["opset"], threads, providers)
        self._prompts = _Prompts(Path(folder) / "prompts") if self._kind == "prompts" else None

    def images(
        self,
        n: int = 1,
        seed: int = 0,
        *,
        label: int | str | list[int | str] | None = None,
        prompt: str | list[str] | None = None,
        first: int = 0,
        batch_size: int = 64,
    ) -> Array:
        """Makes images; that of number i depends on (seed, i) alone, and is that of `advkd sample`.

        Args:
            n: images, at least 1.
            seed: base seed in [0, 2**63).
            label: of a student with classes: number or name, one for all images or a list with that of each; None:
                drawn from (seed, i).
            prompt: of a student with prompts: one for all images or a list with that of each; None: drawn likewise.
            first: number of the first image.
            batch_size: rows per pass; it changes images by rounding alone.

        Returns:
            float32 `[n, C, H, W]` in [0, 1].

        Raises:
            ValueError: a value is out of range, or the condition does not fit the student.
        """
        if n < 1 or batch_size < 1:
            raise ValueError(f"images and rows per pass must be at least 1, got {n} and {batch_size}; ask for some")
        passes = []
        for start in range(first, first + n, batch_size):
            indices = range(start, min(first + n, start + batch_size))
            given = self._conditions(seed, indices, first, label, prompt)
            passes.append(self.run(noise(seed, indices.start, len(indices), self.shape), **given)["images"])
        return np.concatenate(passes)

    def run(self, noise: Array, **conditions: Array) -> dict[str, Array]:
        """Makes one pass.

        Args:
            noise: unit normal, float32 `[B, C, H, W]`.
            **conditions: by the names of the network's inputs, each `[B, ...]`.

        Returns:
            The network's outputs by name: `images` in [0, 1], and the predicted states if it was exported with them.

        Raises:
            ValueError: an input is missing, superfluous or of another shape or type, or not in its range.
        """
        given = {"noise": noise, **conditions}
        named = [entry["name"] for entry in self.metadata["inputs"]]
        if set(given) != set(named):
            raise ValueError(f"this student takes {', '.join(named)}, got {', '.join(sorted(given))}; give these")
        count = len(np.atleast_1d(noise))
        for entry in self.metadata["inputs"]:
            _check(entry, np.asarray(given[entry["name"]]), count)
        outputs = [entry["name"] for entry in self.metadata["outputs"]]
        return dict(zip(outputs, self.session.run(outputs, given), strict=True))

    @property
    def _kind(self) -> str | None:
        condition = self.metadata["condition"]
        return None if condition is None else str(condition["kind"])

    def _input(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = next(entry for entry in self.metadata["inputs"] if entry["name"] == name)
        return entry

    def _conditions(
        self,
        seed: int,
        indices: range,
        first: int,
        label: int | str | list[int | str] | None,
        prompt: str | list[str] | None,
    ) -> dict[str, Array]:
        if (label is not None and self._kind != "labels") or (prompt is not None and self._kind != "prompts"):
            raise ValueError(f"this student takes {self._kind or 'noise alone'}, got a label or a prompt; leave it out")
        if self._kind is None:
            return {}
        if self._kind == "labels":
            numbers = [self._number(_each(label, i - first, seed, i, self._classes)) for i in indices]
            return {"class_labels": np.array(numbers, dtype=np.int64)}
        if self._prompts is not None:
            rows = [self._prompts.row(_each(prompt, i - first, seed, i, self._prompts.count)) for i in indices]
            return self._prompts.embedded(rows)
        raise ValueError(
            f"conditions of kind {self._kind!r} are given to `run`, got none; see the inputs in {METADATA}"
        )

    @property
    def _classes(self) -> int:
        return int(self.metadata["condition"]["classes"])

    def _number(self, label: int | str) -> int:
        names = self.metadata["condition"]["names"]
        number = names.index(label) if label in names else int(label) if str(label).isdecimal() else -1
        if not 0 <= number < self._classes:
            known = ", ".join(names[:12]) or f"0 to {self._classes - 1}"
            raise ValueError(f"a label must be one of {known}, got {label!r}; choose one of them")
        return number


def noise(seed: int, first: int, count: int, shape: tuple[int, ...]) -> Array:
    """Draws the unit normal noise of samples `first` to `first + count - 1`: float32 `[count, *shape]`.

    That of sample i depends on (seed, i) alone: they are the key of Philox (Salmon et al. 2011).

    Raises:
        ValueError: the seed is not in [0, 2**63), or there is nothing to draw.
    """
    if not 0 <= seed < _MAX_SEED or count < 1 or first < 0:
        raise ValueError(
            f"a seed must lie in [0, 2**63) and images be counted from 0, got seed {seed}, {count} from {first}; give "
            "whole numbers that are not negative"
        )
    drawn = np.empty((count, *shape), dtype=np.float32)
    for row in range(count):
        drawn[row] = _generator(seed, first + row).standard_normal(shape, dtype=np.float32)
    return drawn


def pixels(images: Array) -> Array:
    """Returns images `[n, C, H, W]` in [0, 1] as bytes `[n, H, W, C]`."""
    return (np.moveaxis(images, 1, -1) * 255.0).round().astype(np.uint8)


def png(image: Array) -> bytes:
    """Returns an image `[C, H, W]` in [0, 1], of one channel or three, as a PNG file."""
    values = pixels(image[None])[0]
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """Reads the `metadata.json` of an export.

    Raises:
        ExportedStudentError: there is none, or it is of another format.
    """
    try:
        metadata = json.loads((Path(folder) / METADATA).read_text(encoding="utf-8"))
        known = metadata["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportedStudentError(
            f"an exported student is a folder with {METADATA}, got {type(error).__name__} for {folder}; export one "
            "with `advkd export`"
        ) from error
    if known != FORMAT:
        raise ExportedStudentError(
            f"an exported student must be of the format {FORMAT}, got {known!r} in {folder}; export it again, or use "
            "the advkd_onnx.py that came with it"
        )
    return dict(metadata)


def _opened(
    folder: Path, model: dict[str, Any], opset: int, threads: int | None, providers: Sequence[str]
) -> "onnxruntime.InferenceSession":
    file = folder / model["file"]
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ExportedStudentError(
            f"an export must hold its networks, got {type(error).__name__} for {file}; copy the whole folder"
        ) from error
    if hashlib.sha256(content).hexdigest() != model["sha256"]:
        raise ExportedStudentError(
            f"a network must be the one that {METADATA} describes, got {len(content)} bytes of another one in {file} "
            f"(it has {model['bytes']}); copy the folder again"
        )
    # It starts a thread when it is imported.
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = threads or 0
    # Idle threads that spin take the cores from everything else.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, settings, providers=list(providers))
    except Exception as error:
        said = str(error).strip().partition("\n")[0][:200]
        raise ExportedStudentError(
            f"a network must be one that ONNX Runtime {onnxruntime.__version__} runs, got opset {opset} in "
            f"{file} ({said}); install a newer onnxruntime, or export the student again"
        ) from error


def _check(entry: dict[str, Any], values: Array, count: int) -> None:
    shape = (count, *entry["shape"][1:])
    if count < 1 or values.shape != shape or values.dtype != entry["dtype"]:
        wanted = f"{entry['dtype']} [B, {', '.join(map(str, shape[1:]))}]".replace(", ]", "]")
        raise ValueError(
            f"{entry['name']} must be {wanted}, B at least 1 and the same for all inputs, got {values.dtype} "
            f"{list(values.shape)}; reshape or cast it"
        )
    low, high = entry.get("minimum"), entry.get("maximum")
    if low is not None and bool(((values < low) | (values > high)).any()):
        raise ValueError(f"{entry['name']} must lie in [{low}, {high}], got others; choose from these")


def _each(given: Any, position: int, seed: int, index: int, count: int) -> Any:
    """The condition of one image: as it was given, or drawn."""
    if given is None:
        return int(_generator(seed, index, _CONDITION_COUNTER).integers(count))
    if not isinstance(given, list):
        return given
    if position >= len(given):
        raise ValueError(f"conditions must be as many as images, got {len(given)}; give one for each image")
    return given[position]


def _generator(seed: int, index: int, counter: tuple[int, ...] = (0, 0, 0, 0)) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, 2 * index], counter=counter))


class _Prompts:
    """Texts and their embeddings, read from safetensors row by row."""

    def __init__(self, folder: Path) -> None:
        self._texts = json.loads((folder / "config.json").read_text(encoding="utf-8"))["prompts"]
        self.count = len(self._texts)
        self._file = folder / "diffusion_pytorch_model.safetensors"
        with self._file.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            self._entries = json.loads(file.read(length))
        self._start = 8 + length

    def row(self, prompt: int | str) -> int:
        """The number of a prompt, given as its number or its text; the empty one is the last."""
        if isinstance(prompt, int):
            return prompt
        if prompt and prompt not in self._texts:
            raise ValueError(
                f"a prompt must be one of the {self.count} that are stored, got {prompt[:80]!r}; give its embeddings "
                f"to `run`, or take one such as {self._texts[0][:80]!r}"
            )
        return self._texts.index(prompt) if prompt else self.count

    def embedded(self, rows: list[int]) -> dict[str, Array]:
        """The embeddings of some prompts by name, float32 `[B, ...]`."""
        embeddings = {}
        for name, entry in self._entries.items():
            if name == "__metadata__":
                continue
            stored = np.memmap(
                self._file,
                _STORED_TYPES[entry["dtype"]],
                "r",
                self._start + entry["data_offsets"][0],
                tuple(entry["shape"]),
            )[rows]
            bits = entry["dtype"] == "BF16"
            embeddings[name] = (stored.astype(np.uint32) << 16).view(np.float32) if bits else stored.astype(np.float32)
        return embeddings
