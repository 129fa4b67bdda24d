"""Which layers are quantized: all, or all but the fewest of the most harmful; and calibrations that cannot be."""

from pathlib import Path

import numpy as np
import pytest
import torch

from advkd.export import ExportError, ParityError
from advkd.export.onnx.graph import ImageNetwork, open_subject
from advkd.export.onnx.parity import session_run
from advkd.export.onnx.quantizing import quantize, require_finite
from advkd.export.onnx.tracing import trace
from tests.advkd.export.onnx.subjects import save_layerwise


def test_a_calibration_with_nan_is_refused() -> None:
    good = {"noise": torch.zeros(2, 1, 4, 4)}
    require_finite([good])
    with pytest.raises(ExportError, match="must be of finite inputs, got NaN or infinity in noise; draw them from"):
        require_finite([good, {"noise": torch.full((2, 1, 4, 4), torch.nan)}])
    with pytest.raises(ExportError, match="must be of finite inputs, got none"):
        require_finite([])


@pytest.mark.slow
def test_the_layer_that_hurts_most_stays_in_float(tmp_path: Path) -> None:
    subject = open_subject(save_layerwise(tmp_path / "student"))
    model = trace(subject, ImageNetwork(subject, states=False))
    calibration = [subject.inputs(1, 0, 16)]
    exact = session_run(model.SerializeToString())(calibration[0])[0]

    def error(content: bytes) -> float:
        return float(np.sqrt(np.square(session_run(content)(calibration[0])[0] - exact).mean()))

    tried: list[float] = []

    def accepts(content: bytes) -> bool:
        tried.append(error(content))
        return tried[-1] < 0.7 * tried[0]

    made = quantize(model, calibration, accepts)
    assert 0 < len(made.in_float) < made.layers == 8
    assert error(made.model) < 0.7 * tried[0]
    assert list(made.in_float) == sorted(made.harm, key=lambda name: -made.harm[name])[: len(made.in_float)]
    with pytest.raises(ParityError, match="must quantize a layer at least, got none of 8"):
        quantize(model, calibration, lambda content: False)
