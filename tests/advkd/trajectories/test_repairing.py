"""Repair makes exactly what is damaged again, and the store is byte for byte the one from before.

One thing cannot come back: who computed a shard, when and in what time, when its commit record is lost.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from advkd.trajectories import Filling, PrecomputeSpec, precompute
from advkd.trajectories.repairing import RepairResult, repair
from storage import (
    ManifestError,
    SpecMismatchError,
    StoreIncompleteError,
    delete,
    join,
    list_stores,
    open_store,
    read_manifest,
    verify,
    write_bytes,
)
from storage.testing.damage import Contents, Damage, contents, damages, examples, forge, inflict
from storage.testing.oracles import only_data, snapshot
from tests.advkd.conftest import mixture_spec

SAMPLES, SHARDS = 21, 3
RUN_FACTS = {"created", "elapsed_seconds", "author", "sealed", "sha256"}
ENCODED: dict[str, Any] = {
    "noise": "seeded",
    "uint8": ((0, -8.0, 8.0),),
    "resolutions": ((16, 16), (8, 8), (16, 16)),
}
KINDS: dict[str, dict[str, Any]] = {
    "zarr": {"format": "zarr"},
    "webdataset": {"format": "webdataset"},
    "zarr, encoded": {"format": "zarr", **ENCODED},
    "webdataset, encoded": {"format": "webdataset", **ENCODED},
}


def spec_of(root: str | Path, kind: str, **changes: Any) -> PrecomputeSpec:
    sizes = {"samples": SAMPLES, "shard_samples": 8, "block_samples": 4}
    return mixture_spec(Path(root), **{"dtype": "float16", **sizes, **KINDS[kind], **changes, "store": str(root)})


@dataclass
class Sealed:
    """A good store, what it holds, and which shard an object belongs to."""

    spec: PrecomputeSpec
    uri: str
    good: Contents
    shard_of: dict[str, int]

    @property
    def other_keys(self) -> tuple[str, ...]:
        """Objects that belong to no shard."""
        return tuple(key for key in self.good if key not in self.shard_of)

    def marks(self) -> dict[str, tuple[int, int]]:
        """Inode and time of every object on a local disk: they change when it is written again."""
        if self.uri.startswith("s3://"):
            return {}
        found = {key: Path(self.uri, key).stat() for key in self.good if Path(self.uri, key).exists()}
        return {key: (status.st_ino, status.st_mtime_ns) for key, status in found.items()}

    def assert_repaired(self, damaged: Iterable[Damage]) -> RepairResult:
        """Inflict some damage, repair it, and compare everything with the store from before."""
        keys = {damage.key for damage in damaged}
        for damage in damaged:
            inflict(self.uri, damage)
        shards = {self.shard_of[key] for key in keys if key in self.shard_of}
        before = self.marks()
        result = repair(self.uri)
        assert result == RepairResult(self.uri, tuple(sorted(shards)), bool(keys & set(self.other_keys)))
        after = contents(self.uri)
        assert set(after) == set(self.good)
        lost = {key for key in keys if key.startswith("commits/")}
        assert {key for key in after if after[key] != self.good[key]} <= lost
        for key in lost:
            assert meaning(after[key]) == meaning(self.good[key])
        touched = keys | {key for key, shard in self.shard_of.items() if shard in shards}
        now = self.marks()
        assert {key for key, mark in before.items() if now[key] != mark} <= touched
        assert verify(self.uri) == []
        for key in lost:
            write_bytes(join(self.uri, key), self.good[key])
        return result


def sealed(spec: PrecomputeSpec) -> Sealed:
    uri = precompute(spec).uri
    index = open_store(uri).manifest.shards
    shard_of = {key: shard for shard in range(SHARDS) for key in (*index.keys(shard), f"commits/{shard:06d}.json")}
    return Sealed(spec, uri, contents(uri), shard_of)


def meaning(record: bytes) -> dict[str, Any]:
    """A record without what it says of the run that wrote it."""
    return {name: value for name, value in json.loads(record).items() if name not in RUN_FACTS}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Sealed:
    """Both layouts, plain ones and with noise that is drawn again, states as uint8 and a pyramid."""
    return sealed(spec_of(tmp_path, request.param))


@pytest.fixture
def zarr_store(tmp_path: Path) -> Sealed:
    return sealed(spec_of(tmp_path, "zarr"))


@pytest.mark.thorough
def test_any_damage_to_any_object_is_repaired(store: Sealed) -> None:
    @examples(store.uri, local=20)
    @given(damage=damages(store.good, tuple(store.good)))
    def property_(damage: Damage) -> None:
        store.assert_repaired([damage])

    property_()


@pytest.mark.thorough
def test_damage_to_an_object_and_to_the_records_that_tell_of_it_is_repaired(store: Sealed) -> None:
    """Manifest, its copy, index page, metadata or `spec.json`, and something of a shard, at once."""

    @examples(store.uri, local=12)
    @given(one=damages(store.good, store.other_keys), other=damages(store.good, tuple(store.shard_of)))
    def property_(one: Damage, other: Damage) -> None:
        store.assert_repaired([one, other])

    property_()


@pytest.mark.thorough
def test_any_two_damages_are_repaired(zarr_store: Sealed) -> None:
    @examples(zarr_store.uri, local=25)
    @given(data=st.data())
    def property_(data: st.DataObject) -> None:
        one, other = (data.draw(damages(zarr_store.good, tuple(zarr_store.good))) for _ in range(2))
        keys = {one.key, other.key}
        assume(len(keys) == 2)
        # Of both, nothing tells what was sealed.
        assume(keys != {"manifest.json", next(key for key in zarr_store.good if key.startswith("seals/"))})
        zarr_store.assert_repaired([one, other])

    property_()


def test_objects_that_were_exchanged_are_repaired(zarr_store: Sealed) -> None:
    good = zarr_store.good

    @examples(zarr_store.uri, local=15)
    @given(keys=st.lists(st.sampled_from(sorted(zarr_store.shard_of)), min_size=2, max_size=2, unique=True))
    def property_(keys: list[str]) -> None:
        assume(good[keys[0]] != good[keys[1]])
        one, other = keys
        zarr_store.assert_repaired([Damage(one, "exchange", good[other]), Damage(other, "exchange", good[one])])

    property_()


def test_all_that_tells_of_a_shard_may_be_lost_at_once(store: Sealed) -> None:
    page = next(key for key in store.good if key.startswith("index/"))
    lost = ["manifest.json", "spec.json", page, *(key for key, shard in store.shard_of.items() if shard == 1)]
    result = store.assert_repaired([Damage(key, "delete", None) for key in lost])
    assert result.shards == (1,)


@pytest.mark.parametrize("kind", ["zarr", "webdataset"])
def test_damage_in_s3_is_repaired(s3_root: str, kind: str) -> None:
    store = sealed(spec_of(s3_root, kind))

    @examples(store.uri, s3=5)
    @given(one=damages(store.good, store.other_keys), other=damages(store.good, tuple(store.shard_of)))
    def property_(one: Damage, other: Damage) -> None:
        store.assert_repaired([one, other])

    property_()


def test_a_good_store_is_left_alone(store: Sealed) -> None:
    before = store.marks()
    assert repair(store.uri) == RepairResult(store.uri, (), False)
    assert store.marks() == before


def test_a_store_without_its_manifest_is_sealed_again_and_nothing_is_computed(store: Sealed) -> None:
    """It counts as growing; repair may have put the copy of the manifest back instead."""
    delete(join(store.uri, "manifest.json"))
    before = store.marks()
    with pytest.raises(StoreIncompleteError, match="run precompute"):
        verify(store.uri)
    assert [one.state for one in list_stores(store.spec.store)] == ["growing"]
    result = precompute(store.spec)
    assert (result.uri, result.computed) == (store.uri, 0)
    after = contents(store.uri)
    changed = {key for key in after if after[key] != store.good[key]}
    assert all(key == "manifest.json" or key.startswith("seals/") for key in changed)
    assert all(meaning(after[key]) == meaning(store.good[key]) for key in changed)
    kept = [key for key in before if key in store.shard_of]
    assert [store.marks()[key] for key in kept] == [before[key] for key in kept]
    assert verify(store.uri) == []


def test_without_manifest_and_copy_the_remedy_of_the_message_helps(zarr_store: Sealed) -> None:
    uri = zarr_store.uri
    for key in ("manifest.json", "seals/000000000021.json"):
        write_bytes(join(uri, key), zarr_store.good[key][:-9])
    with pytest.raises(ManifestError, match=r"delete .*/manifest\.json.* and run precompute with the same settings"):
        repair(uri)
    assert len(contents(uri)) == len(zarr_store.good)
    delete(join(uri, "manifest.json"))
    assert precompute(zarr_store.spec).computed == 0
    assert verify(uri) == []
    assert repair(uri) == RepairResult(uri, (), False)


def test_an_older_manifest_is_not_taken_for_the_newest(tmp_path: Path) -> None:
    """A store that was extended has a copy of each seal: putting the first back would hide samples."""
    first = sealed(spec_of(tmp_path, "zarr", samples=20))
    precompute(spec_of(tmp_path, "zarr"))
    good = contents(first.uri)
    for data in (first.good["manifest.json"], good["manifest.json"][:-1]):
        write_bytes(join(first.uri, "manifest.json"), data)
        assert "manifest.json" in [problem.key for problem in verify(first.uri)]
        assert repair(first.uri) == RepairResult(first.uri, (), True)
        assert contents(first.uri) == good


def test_a_forged_shard_is_computed_again(tmp_path: Path) -> None:
    """Index, record and manifest agree with a tar that no reader takes: they are written anew for the good one."""
    store, key = sealed(spec_of(tmp_path, "webdataset")), "shards/shard-000001.tar"
    forged = store.good[key].replace(b"000000000011.t0499", b"../000000011.t0499")
    assert forged != store.good[key]
    forge(store.uri, open_store(store.uri).manifest.spec, SAMPLES, 1, {key: forged})
    assert repair(store.uri).shards == (1,)
    assert snapshot(store.uri) == only_data(read_manifest(store.uri).spec, store.good)
    assert verify(store.uri) == []


def test_what_refuses_a_repair_writes_nothing(tmp_path: Path) -> None:
    store = sealed(spec_of(tmp_path / "here", "zarr"))
    victims = [key for key in store.good if key.startswith(("t0999/c/1", "index/", "spec.json"))]
    for key in victims:
        delete(join(store.uri, key))
    elsewhere = tmp_path / "moved" / "elsewhere"
    shutil.copytree(store.uri, elsewhere)
    damaged = contents(store.uri)
    with pytest.raises(SpecMismatchError, match=r"repaired where it was written, .*; move it back"):
        repair(str(elsewhere))
    with pytest.raises(SpecMismatchError, match=r"fingerprint .*--teacher"):
        repair(store.uri, teacher="digits")
    assert contents(store.uri) == contents(str(elsewhere)) == damaged
    assert repair(store.uri) == RepairResult(store.uri, (1,), True)
    assert contents(store.uri) == store.good


def test_a_growing_store_is_not_repaired(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "zarr")
    Filling.of(spec).compute(1)
    uri = list_stores(str(tmp_path))[0].uri
    before = contents(uri)
    with pytest.raises(StoreIncompleteError, match="run precompute with the same settings"):
        repair(uri)
    assert contents(uri) == before


def test_progress_counts_the_samples_to_compute(zarr_store: Sealed) -> None:
    for shard in (0, 2):
        delete(join(zarr_store.uri, f"commits/{shard:06d}.json"))
    calls: list[tuple[int, int]] = []
    repair(zarr_store.uri, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 16), (8, 16), (12, 16), (16, 16)]
