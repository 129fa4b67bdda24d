"""Roots and specs over which the contract of a store is tested: both layouts, a local path and a real S3 server."""

from pathlib import Path

import pytest

from storage import TrajectorySpec
from storage.testing.trajectories import make_spec


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty root of stores."""
    return str(tmp_path / "stores") if request.param == "local" else request.getfixturevalue("s3_root")


@pytest.fixture(params=["zarr", "webdataset"])
def spec(request: pytest.FixtureRequest) -> TrajectorySpec:
    """A small spec in each layout: shards of 8 samples, blocks of 4, three timesteps."""
    return make_spec(layout=request.param)
