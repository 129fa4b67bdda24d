"""A layout that an installed package adds passes the contract and the laws as ours do."""

from pathlib import Path

import pytest

from storage import TrajectorySpec
from storage.layouts import LAYOUTS
from storage.testing import ReadingLaws, StoreContract, WritingLaws, make_spec
from tests.storage.layouts.toy import install

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True, scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The package, for the tests of this module."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(install(tmp_path_factory.mktemp("site"))))
        yield


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "stores")


@pytest.fixture
def spec() -> TrajectorySpec:
    return make_spec(layout="toy")


def test_it_is_a_row_of_the_table() -> None:
    assert list(LAYOUTS) == ["zarr", "webdataset", "toy"]


class TestToy(StoreContract, ReadingLaws, WritingLaws):
    """See `storage/testing`."""
