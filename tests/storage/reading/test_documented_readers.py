"""The snippets of `docs/store.md`, as they stand there, read what was written: both layouts, a local path and S3."""

import gc
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage import store_uri
from storage.records.seeding import initial_noise
from storage.testing.trajectories import fill, make_spec, states_of
from tests.storage.conftest import EVERYWHERE

DOCUMENT = Path(__file__).parents[3] / "docs" / "store.md"
NUM_SAMPLES = 12


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the document asks for with an endpoint that is not AWS."""
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        assert f"{name}=when_required" in DOCUMENT.read_text()
        monkeypatch.setenv(name, "when_required")


def snippet(mark: str) -> str:
    """The one snippet with this text in it."""
    found = [code for code in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if mark in code]
    assert len(found) == 1
    return found[0]


def run(code: str, uri: str | None = None) -> dict[str, Any]:
    """The names that a snippet leaves, its URI replaced."""
    if uri is not None:
        code, count = re.subn(r'^uri = ".*?"', f"uri = {uri!r}", code, flags=re.MULTILINE)
        assert count == 1
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCUMENT), "exec"), names)
    return names


@EVERYWHERE
@pytest.mark.usefixtures("environment")
def test_plain_zarr(root: str) -> None:
    spec = make_spec(uint8_ranges=(None, None, (-1.5, 1.5)))
    fill(root, spec, NUM_SAMPLES)
    # Without a warning: those are errors here.
    names = run(snippet("import zarr"), store_uri(root, spec))
    expected, arrays = states_of(spec, 0, NUM_SAMPLES), names["arrays"]
    assert sorted(arrays) == ["t0000", "t0500", "t0999"]
    assert {array.shape[0] for array in arrays.values()} == {NUM_SAMPLES}
    for t in (999, 500):
        np.testing.assert_array_equal(arrays[f"t{t:04d}"][:], expected[t].astype(np.float16))
    clean = arrays["t0000"]
    decoded = names["clean"] * clean.attrs["scale_factor"] + clean.attrs["add_offset"]
    np.testing.assert_allclose(decoded, expected[0], atol=0.5 * 3 / 255 + 1e-6)


@pytest.mark.thorough
@EVERYWHERE
@pytest.mark.usefixtures("environment")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves files unclosed
def test_plain_webdataset(root: str) -> None:
    spec = make_spec(layout="webdataset")
    fill(root, spec, NUM_SAMPLES)
    if root.startswith("s3://"):
        run(snippet("gopen_schemes"))
    samples = list(run(snippet("import webdataset"), store_uri(root, spec))["samples"])
    gc.collect()
    assert [sample["json"] for sample in samples] == [{"index": index} for index in range(NUM_SAMPLES)]
    for t, values in states_of(spec, 0, NUM_SAMPLES).items():
        np.testing.assert_array_equal(np.stack([s[f"t{t:04d}.npy"] for s in samples]), values.astype(np.float16))


def test_noise_that_is_not_stored() -> None:
    noise = run(snippet("Philox"))["noise"]
    expected = initial_noise(7, 40, 43, (2, 4, 4)).astype(np.float16)
    np.testing.assert_array_equal([noise(7, i, (2, 4, 4)) for i in range(40, 43)], expected)


def test_the_snippets_need_nothing_of_this_package() -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL))
    assert not re.search(r"^\s*(import|from) (storage|advkd)", code, re.MULTILINE)
