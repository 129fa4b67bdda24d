from collections.abc import Iterator

import pytest

from advkd.teachers import EMBEDDED
from tests.advkd.evaluation.parts import gaussian_teacher


@pytest.fixture(scope="package", autouse=True)
def gaussian() -> Iterator[None]:
    """The one-Gaussian teacher under the name "gaussian"."""
    teacher = gaussian_teacher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EMBEDDED, "gaussian", lambda device: teacher)
        yield
