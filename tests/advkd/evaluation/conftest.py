from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from advkd.evaluation.evaluation import EvaluateSpec, evaluate
from advkd.evaluation.results import EvalReport
from advkd.teachers import EMBEDDED
from tests.advkd.evaluation.parts import gaussian_teacher, make_student


@dataclass(frozen=True)
class Evaluated:
    """One small evaluation that many tests look at."""

    spec: EvaluateSpec
    report: EvalReport
    folder: Path


@pytest.fixture(scope="package", autouse=True)
def gaussian() -> Iterator[None]:
    """The one-Gaussian teacher under the name "gaussian"."""
    teacher = gaussian_teacher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EMBEDDED, "gaussian", lambda device: teacher)
        yield


@pytest.fixture(scope="package")
def evaluated(tmp_path_factory: pytest.TempPathFactory, gaussian: None) -> Evaluated:
    root = tmp_path_factory.mktemp("evaluated")
    make_student(gaussian_teacher()).save_pretrained(root / "run" / "student")
    spec = EvaluateSpec(
        student=str(root / "run"),
        teacher="gaussian",
        out=str(root / "report"),
        references=str(root / "references"),
        features="digits",
        real="digits",
        samples=160,
        trajectory_samples=96,
    )
    return Evaluated(spec, evaluate(spec), root / "report")
