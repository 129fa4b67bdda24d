"""Students as ONNX: from noise to finished images in one graph, compared with torch before it is written."""

from advkd.export.onnx.costs import sample_in_torch
from advkd.export.onnx.graph import ImageNetwork, Subject, named_outputs, open_subject
from advkd.export.onnx.metadata import network_facts
from advkd.export.onnx.parity import Run, check_parity, expected_of, measure_parity
from advkd.export.onnx.running import png
from advkd.export.onnx.writing import export_onnx, read_metadata_at

__all__ = [
    "ImageNetwork",
    "Run",
    "Subject",
    "check_parity",
    "expected_of",
    "export_onnx",
    "measure_parity",
    "named_outputs",
    "network_facts",
    "open_subject",
    "png",
    "read_metadata_at",
    "sample_in_torch",
]
