import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from advkd.evaluation import results
from advkd.registry import versions
from tests.advkd.evaluation.conftest import gaussian
from tests.advkd.evaluation.parts import Evaluated
from tests.made_once import made_once

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


@pytest.fixture(scope="package", autouse=True)
def with_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new registry is a copy of one whose tables are there: for a second of a core, MLflow would make them anew."""

    def make(root: Path) -> None:
        with pytest.MonkeyPatch.context() as patch, versions.quiet():
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            versions.open_registry(str(root))

    made, url_of = made_once(tmp_path_factory, "registry", make) / versions.DATABASE, versions.sqlite_url

    def copied(file: Path) -> str:
        if not file.exists():
            shutil.copyfile(made, file)
        return url_of(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "sqlite_url", copied)
        yield
