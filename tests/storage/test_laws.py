"""The laws of reading, in both layouts, on a local path and on a real S3 server."""

import pytest

from storage.testing import ReadingLaws

pytestmark = pytest.mark.timeout(120)


class TestEveryStore(ReadingLaws):
    """See `storage/testing/laws_of_reading.py`."""
