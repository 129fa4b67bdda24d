"""A student for ExecuTorch, PyTorch's runtime of phones: a row that says what is known of it, and writes nothing yet.

executorch 1.4.1 and 1.5.1 go with torch 2.13. Tried by hand with XNNPACK, an untrained layerwise student is within
2.4e-7 of torch in 1.4.1, if the memory format is taken off the traced graph, and for 15 images at a time at most.
"""

from pathlib import Path

from advkd.export.requests import ExportError, ExportSpec


def export_executorch(folder: Path, out: Path, spec: ExportSpec) -> Path:
    """Refuses.

    Raises:
        ExportError: always.
    """
    raise ExportError(
        "an export must take any number of images, got --format executorch, whose networks took 15 at most (tried: "
        "executorch 1.4.1 with torch 2.13, which go together); use --format onnx, which phones run by ONNX Runtime"
    )
