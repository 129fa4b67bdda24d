"""A registered student for MLflow's model server: `mlflow models serve -m models:/NAME@champion`.

    {"dataframe_records": [{"n": 4, "seed": 0, "label": 7}], "params": {"format": "array"}}

A request's answer is a list with the images of each record: PNGs in base64, or with `"format": "array"` numbers in
[0, 1], `[n, C, H, W]`. This file travels with every version that has an ONNX export; it needs mlflow, onnxruntime and
numpy, and holds no pickle: MLflow runs it as it stands.
"""

import base64
import importlib.util
from pathlib import Path
from typing import Any

import mlflow

FORMATS = ("png", "array")
_MOST = 1024


class StudentModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Makes images of a number, a seed and, of students with classes or prompts, a label or prompt."""

    def load_context(self, context: Any) -> None:
        """Opens the networks in the version's `onnx/`."""
        folder = Path(context.artifacts["onnx"])
        spec = importlib.util.spec_from_file_location("advkd_onnx", folder / "advkd_onnx.py")
        assert spec is not None
        assert spec.loader is not None
        self._running = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._running)
        self._student = self._running.Student(folder)

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> list[Any]:
        """Returns the images of each record.

        Raises:
            ValueError: a number of images, seed, label, prompt or format that cannot be.
        """
        form = (params or {}).get("format", FORMATS[0])
        if form not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {form!r}; choose one of them")
        records = model_input.to_dict("records") if hasattr(model_input, "to_dict") else model_input
        return [self._answer(record, form) for record in ([records] if isinstance(records, dict) else records)]

    def _answer(self, record: dict[str, Any], form: str) -> list[Any]:
        # A record that leaves out what another one gives has NaN there.
        given = {name: value for name, value in record.items() if value is not None and value == value}
        count = int(given.get("n", 1))
        if not 1 <= count <= _MOST:
            raise ValueError(f"n must lie in [1, {_MOST}], got {count}; ask for fewer images at a time")
        told = {"label": int(given["label"])} if "label" in given else {}
        if "prompt" in given:
            told["prompt"] = given["prompt"]
        images = self._student.images(count, int(given.get("seed", 0)), **told)
        if form == "array":
            return images.tolist()  # type: ignore[no-any-return]
        return [base64.b64encode(self._running.png(image)).decode() for image in images]


mlflow.models.set_model(StudentModel())
