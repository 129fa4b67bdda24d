"""One export that tests of this folder look at."""

from pathlib import Path

import pytest

from advkd.export import ExportSpec, export_student
from tests.advkd.export.onnx.subjects import save_labelled


@pytest.fixture(scope="package")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student of labels and its export in float32, `student` and `out`; tests only read it."""
    root = tmp_path_factory.mktemp("labelled")
    save_labelled(root / "student")
    quick = {"noises": 6, "seconds": 0.0, "memory": False}
    export_student(ExportSpec(student=str(root / "student"), out=str(root / "out"), **quick))
    return root
