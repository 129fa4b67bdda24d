"""From a network to an ONNX model: traced by torch, without what torch notes for its own debugging."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from advkd.export.onnx.graph import ImageNetwork, Subject, output_names
from advkd.export.requests import ExportError

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
"""That of ONNX Runtime 1.14 and newer, and what torch writes without a conversion."""
BATCH = "batch"
_TRACED_ROWS = 2
_LARGEST = 2**31 - 1


def trace(subject: Subject, network: ImageNetwork) -> "ModelProto":
    """Traces a network whose first dimensions are all the batch.

    Raises:
        ExportError: torch or ONNX cannot express the network, or it is larger than one file of ONNX may be.
    """
    # A batch of one would be taken for a constant.
    inputs = subject.inputs(0, 0, _TRACED_ROWS)
    batch = torch.export.Dim(BATCH, min=1)
    each = [{0: batch} for _ in inputs]
    try:
        with _quiet():
            program = torch.onnx.export(
                network.eval(),
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(output_names(subject, states=network.states)),
                dynamic_shapes=(each[0], *([tuple(each[1:])] if each[1:] else [])),
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, NotImplementedError, TypeError) as error:
        raise ExportError(
            f"an ONNX export needs a student that torch can trace with any number of images, got "
            f"{type(error).__name__} for a {type(subject.student).__name__} ({_first_line(error)}); export it for "
            "diffusers, or write its forward pass without conditions on values"
        ) from error
    assert program is not None
    model = program.model_proto
    if model.ByteSize() > _LARGEST:
        raise ExportError(
            f"an ONNX file holds at most 2 GiB, got a network of {model.ByteSize() / 2**30:.1f} GiB; use --precision "
            "fp16, or export it for diffusers"
        )
    return _bare(model)


def require_packages() -> None:
    """Refuses an export where what writes and runs ONNX was not installed with this package.

    Raises:
        ExportError: a package is missing; the message names it.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ExportError(
                f"an ONNX export needs the package {package}, got no such package; install it: pip install {package}"
            )


def _bare(model: "ModelProto") -> "ModelProto":
    """Removes stack traces and shapes of inner values: half of a small student's file, and paths of this machine."""
    model.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    model.graph.ClearField("metadata_props")
    model.graph.ClearField("doc_string")
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        for field in ("metadata_props", "doc_string"):
            part.ClearField(field)
    model.graph.name = "student"
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch and onnxscript warn of each other's deprecations, and log every rule of their optimiser."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
