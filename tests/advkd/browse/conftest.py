"""Stores to look at, in both layouts, on a local path or in a real S3 server, and the application over them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from advkd.browse import catalogue
from advkd.browse.app import create_app
from advkd.browse.settings import BrowseSpec
from storage import TrajectorySpec
from tests.advkd.browse.site import browser, page, site
from tests.advkd.browse.specs import image_spec
from tests.storage.conftest import root

__all__ = ["browser", "page", "root", "site"]

Opened = Callable[..., TestClient]


@pytest.fixture(params=["zarr", "webdataset"])
def spec(request: pytest.FixtureRequest) -> TrajectorySpec:
    """Grey images in each layout."""
    return image_spec(layout=request.param)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Makes clients of an application over some URIs."""
    clients: list[TestClient] = []
    # On a busy machine too, a list is whole when it is answered.
    monkeypatch.setattr(catalogue, "PATIENCE_SECONDS", 60.0)

    def make(*uris: str, **settings: Any) -> TestClient:
        app = create_app(BrowseSpec(uris=uris, **settings))
        clients.append(TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
