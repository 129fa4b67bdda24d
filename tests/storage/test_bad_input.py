"""Any bytes, and any record that somebody forged: one of our errors with rule, fact and remedy, or the right values.

A forged record carries its own right hash, and its spec's digest, as somebody with the right to write could make it.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import ManifestError, StoreError, TrajectorySpec, digest, open_store, store_uri, verify
from storage.records.checked_json import dump_checked, load_checked
from storage.testing.damage import Contents, Damage, assert_explained, contents, examples, inflicted, refusals
from storage.testing.oracles import shown_states, spec_of_kind
from storage.testing.trajectories import fill

pytestmark = pytest.mark.timeout(300)
NUM_SAMPLES = 21

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["../../x", "/etc/passwd", "{shard:999999999}", "nan", "a" * 64, "1e999", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(params=["zarr", "webdataset", "seeded"])
def spec(request: pytest.FixtureRequest) -> TrajectorySpec:
    """Both layouts, and a store whose noise is drawn again."""
    return spec_of_kind(request.param)


@pytest.fixture
def uri(tmp_path: Path, spec: TrajectorySpec) -> str:
    """A good store."""
    fill(str(tmp_path), spec, NUM_SAMPLES)
    made = store_uri(str(tmp_path), spec)
    assert refusals(made) == 0
    return made


def assert_right_or_refused(uri: str, spec: TrajectorySpec) -> None:
    """Whatever is read is what was committed."""
    refusals(uri)
    try:
        manifest = open_store(uri).manifest
    except StoreError:
        return
    if manifest.digest != digest(spec):
        return
    for samples in (range(manifest.num_samples), [0], [1, 8]):
        try:
            states = open_store(uri).read_samples(samples)
        except (StoreError, ValueError) as error:
            assert_explained(error)
            continue
        for t, values in states.items():
            np.testing.assert_array_equal(values, shown_states(spec, 0, 24)[t][list(samples)])


def changed_places(value: Any, draw: Callable[[Any], Any]) -> Any:
    """A JSON value of which one place holds something else."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        if not draw(st.integers(0, 9)):
            return {name: one for name, one in value.items() if name != key}
        return value | {key: changed_places(value[key], draw)}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], changed_places(value[place], draw), *value[place + 1 :]]
    return draw(JSON)


def as_record(value: object) -> bytes:
    """Any JSON value, or one that holds it, as a record with a right hash and, of a spec that is one, digest."""
    record = value if isinstance(value, dict) and value and "sha256" not in value else {"a": value}
    with contextlib.suppress(KeyError, ManifestError):
        record = record | {"digest": digest(TrajectorySpec.from_json(record["spec"]))}
    return dump_checked(record)


def keys_of(good: Contents) -> tuple[str, ...]:
    """One record of every kind."""
    kinds = ("manifest.json", "spec.json", "commits/000001.json", "index/", "seals/", ".idx.json")
    return tuple(next(key for key in good if kind in key) for kind in kinds if any(kind in key for key in good))


@pytest.mark.thorough
def test_any_bytes_in_place_of_a_record_are_refused(uri: str, spec: TrajectorySpec) -> None:
    good = contents(uri)

    @examples(uri, local=25)
    @given(key=st.sampled_from(keys_of(good)), data=st.binary(max_size=300) | JSON.map(as_record))
    def property_(key: str, data: bytes) -> None:
        with inflicted(uri, Damage(key, "replaced", data), good):
            assert_right_or_refused(uri, spec)
            assert key in [problem.key for problem in verify(uri)]

    property_()


@pytest.mark.thorough
def test_any_change_to_a_forged_record_is_refused_or_harmless(uri: str, spec: TrajectorySpec) -> None:
    good = contents(uri)
    keys = [key for key in keys_of(good) if key.endswith(".json") and ".idx." not in key]

    @examples(uri, local=40)
    @given(key=st.sampled_from(keys), data=st.data())
    def property_(key: str, data: st.DataObject) -> None:
        record = changed_places(load_checked(good[key]), data.draw)
        with inflicted(uri, Damage(key, "forged", as_record(record)), good):
            assert_right_or_refused(uri, spec)

    property_()
