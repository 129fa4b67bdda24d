"""The laws of reading, in both layouts, on a local path and on a real S3 server."""

import pytest

from storage.testing import ReadingLaws
from tests.storage.conftest import EVERYWHERE

pytestmark = [pytest.mark.timeout(300), pytest.mark.thorough]


@EVERYWHERE
class TestEveryStore(ReadingLaws):
    """See `storage/testing/laws_of_reading.py`."""
