"""Students as ONNX: from noise to finished images in one graph, compared with torch before it is written."""

from advkd.export.onnx.costs import sample_in_torch
from advkd.export.onnx.running import png
from advkd.export.onnx.writing import export_onnx, read_metadata_at

__all__ = ["export_onnx", "png", "read_metadata_at", "sample_in_torch"]
