"""The contract of every store, in both layouts, on a local path and on a real S3 server."""

import pytest

from storage.testing import StoreContract
from tests.storage.conftest import EVERYWHERE

pytestmark = pytest.mark.timeout(300)


@EVERYWHERE
class TestEveryStore(StoreContract):
    """See `storage/testing/contract.py`."""
