"""Eight-bit networks: static quantization by ONNX Runtime, with the layers in float that would cost too much.

Weights are quantized per channel, to 7 bits: products of 8 bits saturate in processors without VNNI, and the same file
is to give the same images everywhere.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from advkd.export.onnx.parity import session_run
from advkd.export.requests import ExportError, ParityError
from advkd.files import scratch_folder

if TYPE_CHECKING:
    from onnx import ModelProto

QUANTIZED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Kinds of nodes that are quantized: those with weights; what lies between them stays in float."""
CALIBRATION_SEED = 1
CALIBRATION_NOISES = 128


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A network of eight bits.

    Attributes:
        model: as an ONNX file.
        layers: number of nodes that could be quantized.
        in_float: names of those that are not, the most harmful first.
        harm: root mean square difference of images where that node alone is quantized, by name; empty if all of them
            could be.
    """

    model: bytes
    layers: int
    in_float: tuple[str, ...]
    harm: Mapping[str, float]


def quantize(
    model: "ModelProto",
    calibration: Sequence[Mapping[str, Tensor]],
    accepts: Callable[[bytes], bool],
) -> Quantized:
    """Quantizes as many layers as `accepts` allows; the rest, those that hurt most, stay in float.

    Layers are ranked by the error of quantizing each of them alone, on the first inputs of the calibration. The fewest
    of the worst that must stay are then found by halving.

    Args:
        model: in float32.
        calibration: inputs by name, batch by batch, from which the ranges of activations are taken.
        accepts: whether a network, as a file, is close enough.

    Raises:
        ExportError: the calibration has NaN or infinity, in what is given or in what the network computes of it.
        ParityError: only a network that stays in float altogether is close enough.
    """
    require_finite(calibration)
    with scratch_folder() as folder:
        quantizer = _Quantizer(model, calibration, folder)
        names = quantizer.layers
        whole = quantizer.without(())
        if accepts(whole):
            return Quantized(model=whole, layers=len(names), in_float=(), harm={})
        harm = {name: quantizer.harm(name) for name in names}
        worst = sorted(names, key=lambda name: -harm[name])
        few, many, best = 0, len(worst), None
        while many - few > 1:
            middle = (few + many) // 2
            candidate = quantizer.without(worst[:middle])
            if accepts(candidate):
                many, best = middle, candidate
            else:
                few = middle
    if best is None:
        raise ParityError(
            f"an export in int8 must quantize a layer at least, got none of {len(names)} whose error is small enough; "
            "use fp16 or fp32"
        )
    return Quantized(model=best, layers=len(names), in_float=tuple(worst[:many]), harm=harm)


def require_finite(calibration: Sequence[Mapping[str, Tensor]]) -> None:
    """Refuses inputs from which no range can be taken.

    Raises:
        ExportError: there are none, or they hold NaN or infinity.
    """
    wrong = {name for batch in calibration for name, values in batch.items() if not bool(values.isfinite().all())}
    if wrong or not calibration:
        got = f"NaN or infinity in {', '.join(sorted(wrong))}" if wrong else "none"
        raise ExportError(f"a calibration must be of finite inputs, got {got}; draw them from a seed")


class _Quantizer:
    """Calibrates once, and quantizes a model with one choice of layers after the other."""

    def __init__(self, model: "ModelProto", calibration: Sequence[Mapping[str, Tensor]], folder: Path) -> None:
        self._folder, self._calibration = folder, calibration
        self._inputs = calibration[0]
        self._prepared = self._prepare(model)
        self.layers = _layers(self._prepared)
        self._expected = session_run(model.SerializeToString())(self._inputs)[0]

    def without(self, in_float: Sequence[str]) -> bytes:
        """Returns the model with all layers but these quantized."""
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self, batches: Iterator[Mapping[str, Tensor]]) -> None:
                self._batches = batches

            def get_next(self) -> Any:
                batch = next(self._batches, None)
                return None if batch is None else {name: values.numpy() for name, values in batch.items()}

        out = self._folder / "quantized.onnx"
        with _quiet():
            quantize_static(
                str(self._prepared),
                str(out),
                Reader(iter(self._calibration)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTIZED),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=list(in_float),
                # The ranges of the first call serve all others.
                calibration_cache_path=self._folder / "ranges.json",
            )
        return _slim(out)

    def harm(self, name: str) -> float:
        """Returns the error of images where this layer alone is quantized."""
        alone = self.without([other for other in self.layers if other != name])
        images = session_run(alone)(self._inputs)[0]
        return _rmse(images, self._expected)

    def _prepare(self, model: "ModelProto") -> Path:
        """Writes the model as ONNX Runtime's quantizer wants it: with shapes, and normalisation within convolutions."""
        from onnxruntime.quantization.shape_inference import quant_pre_process

        given, out = self._folder / "given.onnx", self._folder / "prepared.onnx"
        given.write_bytes(model.SerializeToString())
        with _quiet():
            quant_pre_process(str(given), str(out), skip_symbolic_shape=True)
        return out


def _layers(file: Path) -> list[str]:
    from onnx import load

    return [node.name for node in load(file).graph.node if node.op_type in QUANTIZED]


def _slim(file: Path) -> bytes:
    """Shortens the names of inner values, and leaves out what a network of these nodes does not need.

    Of a small student they are a fifth of the file. Layers keep their names, by which those in float are listed.
    """
    from onnx import load

    model = load(file)
    graph = model.graph
    graph.ClearField("value_info")
    fixed = {value.name for value in (*graph.input, *graph.output)}
    short: dict[str, str] = {}

    def renamed(name: str) -> str:
        return name if not name or name in fixed else short.setdefault(name, f"v{len(short):x}")

    for weight in graph.initializer:
        weight.name = renamed(weight.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed(name) for name in names]
        if node.op_type not in QUANTIZED:
            node.ClearField("name")
    used = {node.domain for node in graph.node}
    for domain in [entry for entry in model.opset_import if entry.domain not in used]:
        model.opset_import.remove(domain)
    return model.SerializeToString()  # type: ignore[no-any-return]


def _rmse(images: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    return math.sqrt(float(np.square(images - expected, dtype=np.float64).mean()))


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantizer logs advice at the root, where nobody else's is."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
