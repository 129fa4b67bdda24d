"""A student for ExecuTorch, PyTorch's runtime of phones: says which versions go together, and writes nothing.

executorch 1.4 is built for torch 2.13 and traces a student, but its runtime refuses a batch of free size.
"""

from pathlib import Path

from advkd.export.requests import ExportError, ExportSpec


def export_executorch(folder: Path, out: Path, spec: ExportSpec) -> Path:
    """Refuses.

    Raises:
        ExportError: always.
    """
    raise ExportError(
        "an export for ExecuTorch must run with any number of images, got a runtime that takes one number alone "
        "(executorch 1.4.1, which goes with torch 2.13, and 1.5.1 were tried); use --format onnx, which phones run by "
        "onnxruntime-mobile"
    )
