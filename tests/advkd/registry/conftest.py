import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from advkd.evaluation import results
from tests.advkd.evaluation.conftest import gaussian
from tests.advkd.evaluation.parts import Evaluated

__all__ = ["gaussian"]


@pytest.fixture(scope="package")
def evaluated(evaluated: Evaluated, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """The evaluation of an untrained student, with the recall of one that has learned something."""
    root = tmp_path_factory.mktemp("judged") / "all"
    shutil.copytree(evaluated.folder.parent, root)
    (distances,) = evaluated.report.distances
    assert distances.to_teacher.recall is not None
    recall = replace(distances.to_teacher.recall, value=0.5)
    better = replace(distances, to_teacher=replace(distances.to_teacher, recall=recall))
    report = replace(evaluated.report, distances=(better,))
    folder = root / evaluated.folder.name
    (folder / "metrics.json").write_text(report.to_json())
    return Evaluated(replace(evaluated.spec, student=str(root / "run"), out=str(folder)), report, folder)


@pytest.fixture(scope="package", autouse=True)
def few_are_enough(evaluated: Evaluated) -> Iterator[None]:
    """The evaluation, which is made before, has 160 images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "COMPARABLE_SAMPLES", 100)
        yield
