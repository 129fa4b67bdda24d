"""Forged manifests: refused when they are opened, with rule, fact and remedy, and no memory is taken on their word.

A forged record carries its own right hash, and its spec's digest, as somebody with the right to write could make it.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage import (
    LAYOUT_VERSION,
    ManifestError,
    TrajectorySpec,
    digest,
    join,
    list_stores,
    open_store,
    read_bytes,
    store_uri,
    verify,
)
from storage.records.checked_json import load_checked
from storage.records.manifest import write_manifest
from storage.records.shard_index import write_index
from storage.testing.damage import assert_explained, change_record, claim, everything, peak_memory, refusals
from storage.testing.trajectories import fill, make_spec

NUM_SAMPLES = 21
MEMORY = 4 * 2**20
"""What reading a forged store in every way may take at once; reading the good ones of these tests takes less."""

FORGED_MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "no samples": (lambda m: {"num_samples": 0}, "must list 1 sample or more.*this one of 0 samples"),
    "negative": (lambda m: {"num_samples": -5}, "whole number"),
    "a boolean for a number": (lambda m: {"num_samples": True}, "whole number"),
    "a float for a number": (lambda m: {"num_samples": 21.0}, "whole number"),
    "more than the index has": (lambda m: {"num_samples": 10**15}, "lists 3 shards"),
    "a layout version that is true": (lambda m: {"layout_version": True}, f"layout version {LAYOUT_VERSION}, got True"),
    "a newer layout version": (lambda m: {"layout_version": LAYOUT_VERSION + 1}, "newer: open it with the release"),
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
    "no shards": (lambda m: {"num_samples": 0} | shards(m, count=0, pages=[]), "must list 1 sample or more"),
    "fewer shards than samples": (lambda m: shards(m, count=0, pages=[]), "21 samples lists 0 shards"),
    "another digest": (lambda m: {"digest": "b" * 64}, "digest must be that of its spec"),
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


@pytest.mark.thorough
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
    used = peak_memory(lambda: refusals(uri))
    assert used < MEMORY
    assert [problem.key for problem in verify(uri)] == ["manifest.json"]
    # Whether its templates are those of its layout is seen when it is opened.
    assert [one.state for one in list_stores(str(tmp_path))] == [
        "sealed" if what == "templates of another layout" else "unreadable"
    ]


@pytest.mark.thorough
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
    kind = {"layout": layout, "noise": noise, "signal": (0.0, 0.5, 1.0), "sigma": (1.0, 0.8, 0.0)}
    small = make_spec(**kind)
    fill(str(tmp_path), small, NUM_SAMPLES)
    uri = store_uri(str(tmp_path), small)
    claim(uri, make_spec(**kind, **huge), NUM_SAMPLES)
    counts: list[int] = []
    assert peak_memory(lambda: counts.append(refusals(uri)), MEMORY) < MEMORY
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
    assert peak_memory(lambda: counts.append(refusals(uri)), MEMORY) < MEMORY
    assert counts[0] == len(list(everything(uri))) - len(["open_store", "verify", "list_stores"])
    assert {problem.shard for problem in verify(uri)} == {0, 1, 2}
