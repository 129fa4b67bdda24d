"""Stores to look at, in both layouts, on a local path or in a real S3 server, and the application over them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from advkd.browse.app import create_app
from advkd.browse.labels import DIGITS_FINGERPRINTS
from advkd.browse.settings import BrowseSpec
from storage import TrajectorySpec
from storage.testing.trajectories import make_spec
from tests.storage.conftest import root

__all__ = ["root"]

Opened = Callable[..., TestClient]


def digits_spec(**changes: Any) -> TrajectorySpec:
    """As `image_spec`, of a teacher that is known to show digits."""
    return image_spec(**({"sample_shape": (1, 16, 16), "fingerprint": sorted(DIGITS_FINGERPRINTS)[0]} | changes))


def image_spec(**changes: Any) -> TrajectorySpec:
    """Grey 8x8 images in shards of 32 samples, blocks of 4: single samples are ranged reads."""
    return make_spec(**({"sample_shape": (1, 8, 8), "shard_samples": 32, "block_samples": 4} | changes))


@pytest.fixture(params=["zarr", "webdataset"])
def spec(request: pytest.FixtureRequest) -> TrajectorySpec:
    """Grey images in each layout."""
    return image_spec(layout=request.param)


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Makes clients of an application over some URIs."""
    clients: list[TestClient] = []

    def make(*uris: str, **settings: Any) -> TestClient:
        app = create_app(BrowseSpec(uris=uris, **settings))
        clients.append(TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
