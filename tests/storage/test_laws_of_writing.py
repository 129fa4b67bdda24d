"""The laws of writing, in both layouts, on a local path and on a real S3 server."""

import pytest

from storage.testing import WritingLaws
from tests.storage.conftest import EVERYWHERE

pytestmark = [pytest.mark.timeout(300), pytest.mark.thorough]


@EVERYWHERE
class TestEveryStore(WritingLaws):
    """See `storage/testing/laws_of_writing.py`."""
