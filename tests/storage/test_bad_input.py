"""Records that are foreign, damaged or forged: refused with rule, fact and remedy, and no memory taken on their word.

A forged record carries its own right hash, as somebody with the right to write could make it.
"""

import copy
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    ManifestError,
    StoreError,
    TrajectoryLoader,
    TrajectorySpec,
    digest,
    join,
    list_stores,
    open_store,
    read_bytes,
    store_uri,
    verify,
)
from storage.checked_json import dump_checked, load_checked
from storage.manifest import write_manifest
from storage.shard_index import write_index
from tests.storage.damage import (
    Contents,
    assert_explained,
    change_record,
    claim,
    contents,
    examples,
    inflicted,
)
from tests.storage.damage import Damage as Replaced
from tests.storage.trajectories import fill, make_spec, states_of

pytestmark = pytest.mark.timeout(120)
NUM_SAMPLES = 21
MEBIBYTE = 2**20
LIMIT = 4 * MEBIBYTE
"""What all of reading a forged store may take; the good one of these tests takes less."""

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


@pytest.fixture(params=["zarr", "webdataset", "seeded noise"])
def spec(request: pytest.FixtureRequest) -> TrajectorySpec:
    """Both layouts, and a store whose noise is drawn again."""
    if request.param == "seeded noise":
        return make_spec(noise="seeded")
    return make_spec(layout=request.param)


@pytest.fixture
def uri(tmp_path: Path, spec: TrajectorySpec) -> str:
    """A good store."""
    fill(str(tmp_path), spec, NUM_SAMPLES)
    return store_uri(str(tmp_path), spec)


def everything(uri: str) -> Iterator[Callable[[], object]]:
    """Each way of reading a store."""
    yield lambda: open_store(uri)
    yield lambda: verify(uri)
    yield lambda: list_stores(str(Path(uri).parent.parent))
    yield lambda: open_store(uri).read_shard(0)
    yield lambda: open_store(uri).read_samples([0])
    yield lambda: open_store(uri).read_samples(range(open_store(uri).manifest.num_samples))
    yield lambda: open_store(uri).read_samples([0], timesteps=open_store(uri).manifest.spec.timesteps[:1])
    yield lambda: list(TrajectoryLoader(uri, batch_size=4, seed=1).epoch(0))


def refused(uri: str) -> int:
    """How many ways of reading raise; each of them must say why in one of our errors."""
    count = 0
    for read in everything(uri):
        try:
            read()
        except Exception as error:
            assert_explained(error)
            count += 1
    return count


def assert_right_or_refused(uri: str, spec: TrajectorySpec) -> None:
    """Whatever is read is what was committed."""
    refused(uri)
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
            expected = states_of(spec, 0, 24)[t][list(samples)].astype(spec.dtype)
            np.testing.assert_array_equal(values, expected)


def peak(action: Callable[[], object]) -> int:
    """Bytes of memory that an action takes at most, what it raises left aside."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


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


def keys_of(good: Contents) -> tuple[str, ...]:
    """One record of every kind that a reader or `verify` parses."""
    kinds = ("manifest.json", "spec.json", "commits/000001.json", "index/", "seals/", ".idx.json")
    return tuple(next(key for key in good if kind in key) for kind in kinds if any(kind in key for key in good))


def test_any_bytes_in_place_of_a_record_are_refused(uri: str, spec: TrajectorySpec) -> None:
    good = contents(uri)

    @examples(uri, local=40)
    @given(key=st.sampled_from(keys_of(good)), data=st.binary(max_size=300) | JSON.map(as_record))
    def property_(key: str, data: bytes) -> None:
        with inflicted(uri, Replaced(key, "replaced", data), good):
            assert_right_or_refused(uri, spec)
            assert key in [problem.key for problem in verify(uri)]

    property_()


def as_record(value: object) -> bytes:
    """Any JSON value, or a part of it, as a record with a right hash."""
    return dump_checked(value if isinstance(value, dict) and value and "sha256" not in value else {"a": value})


def test_any_change_to_a_forged_record_is_refused_or_harmless(uri: str, spec: TrajectorySpec) -> None:
    good = contents(uri)
    keys = [key for key in keys_of(good) if key.endswith(".json") and ".idx." not in key]

    @examples(uri, local=60)
    @given(key=st.sampled_from(keys), data=st.data())
    def property_(key: str, data: st.DataObject) -> None:
        record = changed_places(load_checked(good[key]), data.draw)
        with inflicted(uri, Replaced(key, "forged", as_record(record)), good):
            assert_right_or_refused(uri, spec)

    property_()


FORGED_MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "no samples": (lambda m: {"num_samples": 0}, "must list 1 sample or more .* this one of 0 samples"),
    "negative": (lambda m: {"num_samples": -5}, "whole number"),
    "a boolean for a number": (lambda m: {"num_samples": True}, "whole number"),
    "a float for a number": (lambda m: {"num_samples": 21.0}, "whole number"),
    "more than the index has": (lambda m: {"num_samples": 10**15}, "lists 3"),
    "a layout version that is true": (lambda m: {"layout_version": True}, "layout version 1, got True"),
    "a newer layout version": (lambda m: {"layout_version": 2}, "newer: open it with the release that wrote it"),
    "no number of seconds": (lambda m: {"elapsed_seconds": "nan"}, "elapsed_seconds must be a finite number"),
    "text for a list": (lambda m: {"metadata": "zarr.json"}, "list"),
    "metadata elsewhere": (lambda m: {"metadata": [entry("../../x")]}, r"lead downwards.*\.\./\.\./x"),
    "metadata at the root": (lambda m: {"metadata": [entry("/etc/passwd")]}, "lead downwards"),
    "statistics that are none": (lambda m: {"statistics": {t: {} for t in m["statistics"]}}, "statistics has exactly"),
    "statistics of text": (
        lambda m: {"statistics": {t: dict.fromkeys(one, "nan") for t, one in m["statistics"].items()}},
        "must be a finite number, got 'nan'",
    ),
    "a page elsewhere": (lambda m: pages(m, key="index/../../x.npy"), "page 0 .* got .*index/../../x.npy|downwards"),
    "a page at the root": (lambda m: pages(m, key="/index/000000.npy"), "page 0|lead downwards"),
    "a page of another name": (lambda m: pages(m, key="index/000001-aaaaaaaaaaaaaaaa.npy"), "page 0"),
    "a page of any size": (lambda m: pages(m, bytes=2**60), "page 0 .* got 1152921504606846976 bytes"),
    "a page of no whole size": (lambda m: pages(m, bytes=1.5), "whole number"),
    "too many shards": (lambda m: shards(m, count=10**12), "one page per"),
    "shards that are true": (lambda m: shards(m, count=True), "count must be a whole number"),
    "endless pages": (lambda m: shards(m, page_shards=2**40), "one page per"),
    "no pages": (lambda m: shards(m, page_shards=0), "one page per|whole"),
    "pages of another form": (lambda m: shards(m, pages={"0": 1}), "list"),
    "negative bytes": (lambda m: shards(m, bytes=-1), "whole number"),
    "noise of another kind": (lambda m: shards(m, seeded_noise=1), "seeded_noise must be true or false"),
    "templates elsewhere": (lambda m: template(m, "../../x/{shard}"), r"lead downwards.*'\.\./\.\./x/0'"),
    "templates at the root": (lambda m: template(m, "/etc/{shard}"), "lead downwards.*'/etc/0'"),
    "templates that take memory": (lambda m: template(m, "shards/{shard:9999999999}"), "{shard:9999999999}"),
    "templates that look inside": (lambda m: template(m, "shards/{shard.__class__}"), "__class__"),
    "templates of another layout": (lambda m: template(m, "shards/other-{shard:06d}.bin"), "keeps its shards in"),
    "templates that are none": (lambda m: shards(m, objects=[1, 2, 3]), "template"),
    "a spec of floats": (lambda m: forged_spec(m, shard_samples=8.0), "shard_samples must be a whole number"),
    "a spec of booleans": (lambda m: forged_spec(m, base_seed=True), "base_seed must be a whole number"),
    "a spec that is not as written": (lambda m: forged_spec(m, timesteps=[999.0, 500, 0]), "as it was written"),
    "a spec without samples": (lambda m: forged_spec(m, shard_samples=0), "must be positive"),
    "a spec of huge shards": (lambda m: forged_spec(m, shard_samples=2**40, block_samples=1), "must be at most"),
    "a spec that cannot be hashed": (lambda m: {"spec": m["spec"] | {"signal": [10**90] * 3}}, "signal"),
    "a spec of another form": (lambda m: {"spec": [1]}, "exactly the fields"),
}


def entry(key: str) -> dict[str, Any]:
    return {"key": key, "bytes": 1, "sha256": "a" * 64}


def shards(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"shards": manifest["shards"] | changes}


def pages(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return shards(manifest, pages=[manifest["shards"]["pages"][0] | changes])


def template(manifest: dict[str, Any], text: str) -> dict[str, Any]:
    return shards(manifest, objects=[text, *manifest["shards"]["objects"][1:]])


def forged_spec(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A changed spec, with its digest where it has one."""
    spec = manifest["spec"] | changes
    try:
        return {"spec": spec, "digest": digest(TrajectorySpec.from_json(copy.deepcopy(spec)))}
    except ManifestError:
        return {"spec": spec}


@pytest.mark.parametrize("what", FORGED_MANIFESTS)
def test_a_forged_manifest_is_refused(tmp_path: Path, what: str) -> None:
    spec = make_spec(layout="webdataset")
    fill(str(tmp_path), spec, NUM_SAMPLES)
    uri = store_uri(str(tmp_path), spec)
    change, message = FORGED_MANIFESTS[what]
    address = join(uri, "manifest.json")
    change_record(address, change(load_checked(read_bytes(address))))
    with pytest.raises(ManifestError, match=message) as caught:
        open_store(uri)
    assert_explained(caught.value)
    assert uri in str(caught.value)
    used = peak(lambda: refused(uri))
    assert used < LIMIT
    assert [problem.key for problem in verify(uri)] == ["manifest.json"]
    # Whether its templates are those of its layout is seen when it is opened.
    assert [one.state for one in list_stores(str(tmp_path))] == [
        "sealed" if what == "templates of another layout" else "unreadable"
    ]


@pytest.mark.parametrize("noise", ["stored", "seeded"])
@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
@pytest.mark.parametrize(
    "huge",
    [
        {"sample_shape": (3, 2**15, 2**15)},
        {"sample_shape": (2**30, 2**30, 2**30)},
        {"shard_samples": 2**20, "block_samples": 2**20},
        {"shard_samples": 2**20, "block_samples": 1},
        {"sample_shape": (3, 2**12, 2**12), "shard_samples": 2**20, "block_samples": 2**10},
    ],
)
def test_no_memory_is_taken_on_the_word_of_a_manifest(
    tmp_path: Path, layout: str, noise: str, huge: dict[str, Any]
) -> None:
    """Index, digest and manifest agree that the shards are huge; the objects are small."""
    small = make_spec(layout=layout, noise=noise)
    fill(str(tmp_path), small, NUM_SAMPLES)
    uri = store_uri(str(tmp_path), small)
    claim(uri, make_spec(layout=layout, noise=noise, **huge), NUM_SAMPLES)
    counts: list[int] = []
    assert peak(lambda: counts.append(refused(uri))) < LIMIT
    assert counts[0] >= 1
    assert 0 in [problem.shard for problem in verify(uri)]


@pytest.mark.parametrize("size", [-1, 0, 2**50])
def test_no_size_in_a_forged_page_is_believed(tmp_path: Path, size: int) -> None:
    spec = make_spec()
    manifest = fill(str(tmp_path), spec, NUM_SAMPLES)
    uri = store_uri(str(tmp_path), spec)
    rows = [
        (tuple(replace(one, size=size) for one in manifest.shards.entries(shard)), None)
        for shard in range(manifest.num_shards)
    ]
    index = write_index(uri, manifest.shards.templates, rows)
    write_manifest(uri, replace(manifest, shards=replace(index, total_bytes=0)))
    counts: list[int] = []
    assert peak(lambda: counts.append(refused(uri))) < LIMIT
    assert counts[0] == len(list(everything(uri))) - len(["open_store", "verify", "list_stores"])
    assert {problem.shard for problem in verify(uri)} == {0, 1, 2}
