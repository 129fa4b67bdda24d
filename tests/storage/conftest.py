"""Roots and specs over which stores are tested: both layouts; a local path, and a real S3 server where it matters.

All but `storage.objects` sees objects alone, so S3 is asked for by what tests objects, by the laws, and once by each
kind of care.
"""

from pathlib import Path

import pytest

from storage import TrajectorySpec
from storage.testing.trajectories import make_spec

EVERYWHERE = pytest.mark.parametrize("root", ["local", pytest.param("s3", marks=pytest.mark.thorough)], indirect=True)


@pytest.fixture
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty root of stores: on the local disk, unless the test asks for `EVERYWHERE`."""
    on_disk = getattr(request, "param", "local") == "local"
    return str(tmp_path / "stores") if on_disk else request.getfixturevalue("s3_root")


@pytest.fixture(params=["zarr", "webdataset"])
def spec(request: pytest.FixtureRequest) -> TrajectorySpec:
    """A small spec in each layout: shards of 8 samples, blocks of 4, three timesteps."""
    return make_spec(layout=request.param)
