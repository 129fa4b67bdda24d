"""What is of no use is found and removed, and nothing else: not what is young, in use, foreign, or not understood."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from storage import (
    TrajectorySpec,
    delete,
    is_sealed,
    join,
    list_prefix,
    missing_shards,
    open_store,
    seal,
    store_uri,
    verify,
    write_bytes,
)
from storage.care.garbage import (
    CLOCK_MARGIN_SECONDS,
    OLD_CLAIM,
    OLD_COPY,
    OLD_PAGE,
    UNCOMMITTED,
    find_garbage,
    remove_garbage,
)
from storage.care.keys import Role, StoreKeys
from storage.errors import StoreNotFoundError
from storage.objects.access import list_objects
from storage.records.commits import commit_uri, read_commit, write_commit
from storage.records.manifest import copy_key, manifest_uri, read_manifest
from storage.testing.damage import contents
from storage.testing.trajectories import fill
from storage.writing.claims import claim_uri
from tests.storage.care.cleaning import clean, data_of, write
from tests.storage.conftest import EVERYWHERE

pytestmark = pytest.mark.timeout(300)
DAY = 86_400.0


class TestNothingInUseIsTouched:
    """A store in any good state comes out byte for byte as it went in."""

    def test_sealed_and_growing(self, root: str, spec: TrajectorySpec) -> None:
        other = replace(spec, base_seed=8)
        fill(root, spec, 20)
        write(root, other, 0, 2)
        for one in (spec, other):
            uri = store_uri(root, one)
            before = contents(uri)
            (found,) = clean(uri)
            assert (found.old, found.young, found.foreign, found.problem) == ((), (), (), None)
            assert contents(uri) == before

    @EVERYWHERE
    def test_an_extension_under_way(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 12)
        uri = write(root, spec, 3)
        before = contents(uri)
        clean(uri)
        assert contents(uri) == before
        assert missing_shards(root, spec, 32) == [2]

    def test_a_damaged_store_keeps_all_that_its_manifest_lists(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        root = str(tmp_path)
        fill(root, spec, 20)
        uri = store_uri(root, spec)
        delete(commit_uri(uri, 1))
        before = contents(uri)
        clean(uri)
        assert contents(uri) == before


class TestShardsWithoutARecord:
    """Their worker was killed between data and record."""

    @pytest.mark.parametrize("sealed", [False, True])
    def test_they_go_and_nothing_else_does(self, root: str, spec: TrajectorySpec, sealed: bool) -> None:
        uri = write(root, spec, 0, 1, 2, 3)
        if sealed:
            seal(root, spec, 10)
        killed = {2, 3} if sealed else {1, 3}
        for shard in killed:
            delete(commit_uri(uri, shard))
        before, lost = contents(uri), set[str]().union(*(data_of(uri, spec, shard) for shard in killed))
        (found,) = clean(uri)
        assert {(one.kind, one.key, one.size) for one in found.old} == {
            (UNCOMMITTED, key, len(before[key])) for key in lost
        }
        assert contents(uri) == {key: data for key, data in before.items() if key not in lost}
        assert missing_shards(root, spec, 32) == sorted(killed)
        fill(root, spec, 32)
        assert verify(uri) == []

    def test_claims_of_runs_that_were_killed_go_too(self, root: str, spec: TrajectorySpec) -> None:
        uri = write(root, spec, 0, 1)
        before = contents(uri)
        write_bytes(claim_uri(uri, 2), b"{}")
        (found,) = clean(uri)
        assert [(one.kind, one.key) for one in found.old] == [(OLD_CLAIM, "claims/000002.json")]
        assert contents(uri) == before

    def test_nothing_younger_than_asked_for(self, root: str, spec: TrajectorySpec) -> None:
        uri = write(root, spec, 0, 1)
        delete(commit_uri(uri, 1))
        before = contents(uri)
        youngest = max(one.modified for one in list_objects(uri) if one.key in data_of(uri, spec, 1))
        # Clocks of the object's writer and of this machine may differ by the margin.
        (found,) = find_garbage(uri, DAY, now=youngest + DAY + CLOCK_MARGIN_SECONDS - 1)
        assert found.old == ()
        assert {one.key for one in found.young} == data_of(uri, spec, 1)
        assert remove_garbage(found) == []
        assert contents(uri) == before
        (found,) = find_garbage(uri, DAY, now=youngest + DAY + CLOCK_MARGIN_SECONDS)
        assert {one.key for one in found.old} == data_of(uri, spec, 1)
        # Where nobody works on the store, no age is asked for, and no margin.
        (found,) = find_garbage(uri, 0, now=youngest)
        assert {one.key for one in found.old} == data_of(uri, spec, 1)

    def test_a_shard_is_as_young_as_its_youngest_object(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        """One that is being uploaded for longer than the age: its first objects are old, its last one is new."""
        uri = write(str(tmp_path), spec, 0, 1)
        delete(commit_uri(uri, 1))
        *first, last = sorted(data_of(uri, spec, 1))
        for key in first:
            os.utime(join(uri, key), (0, time.time() - 2 * DAY))
        (found,) = find_garbage(uri, DAY)
        assert found.old == ()
        assert {one.key for one in found.young} == {*first, last}

    def test_a_record_that_comes_after_the_search_saves_its_shard(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        root = str(tmp_path)
        uri = write(root, spec, 0, 1, 2)
        record = read_commit(uri, 1)
        for shard in (1, 2):
            delete(commit_uri(uri, shard))
        (found,) = find_garbage(uri, 0, now=time.time() + 5)
        write_commit(uri, record)
        assert {one.shard for one in remove_garbage(found)} == {2}
        fill(root, spec, 20)
        assert verify(uri) == []


class TestIndexOfAStoreThatGrew:
    """Pages and copies that the manifest names no longer."""

    def test_old_ones_go(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 8)
        uri = store_uri(root, spec)
        first = read_manifest(uri).shards.pages[0].key
        fill(root, spec, 20)
        before = contents(uri)
        (found,) = clean(uri)
        assert {(one.kind, one.key) for one in found.old} == {(OLD_PAGE, first), (OLD_COPY, copy_key(8))}
        assert contents(uri) == {key: data for key, data in before.items() if key not in (first, copy_key(8))}
        assert verify(uri) == []
        assert set(open_store(uri).read_samples(range(20))) == set(spec.timesteps)

    def test_they_are_as_young_as_the_manifest_that_replaced_them(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        """A page that was written long ago and replaced a minute ago still has readers."""
        root = str(tmp_path)
        fill(root, spec, 8)
        uri = store_uri(root, spec)
        for one in list_prefix(uri):
            os.utime(join(uri, one), (0, time.time() - 2 * DAY))
        reader = open_store(uri)
        fill(root, spec, 20)
        (found,) = find_garbage(uri, DAY)
        assert (len(found.old), len(found.young)) == (0, 2)
        remove_garbage(found)
        assert set(reader.read_samples(range(8))) == set(spec.timesteps)

    def test_none_goes_while_a_larger_seal_is_under_way(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        """Pages and copy of the extension are written, its manifest is not: it may be restored from the copy."""
        root = str(tmp_path)
        fill(root, spec, 8)
        uri = store_uri(root, spec)
        old = contents(uri, "manifest.json")["manifest.json"]
        fill(root, spec, 20)
        write_bytes(manifest_uri(uri), old)
        before = contents(uri)
        (found,) = clean(uri)
        assert found.old == ()
        assert contents(uri) == before

    def test_none_goes_without_a_manifest(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        root = str(tmp_path)
        fill(root, spec, 8)
        uri = store_uri(root, spec)
        delete(manifest_uri(uri))
        before = contents(uri)
        clean(uri)
        assert contents(uri) == before
        assert is_sealed(root, spec, 8) is False

    def test_a_page_that_comes_into_use_after_the_search_stays(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        root = str(tmp_path)
        fill(root, spec, 8)
        uri = store_uri(root, spec)
        old = contents(uri, "manifest.json")["manifest.json"]
        fill(root, spec, 20)
        (found,) = find_garbage(uri, 0, now=time.time() + 5)
        write_bytes(manifest_uri(uri), old)
        assert remove_garbage(found) == []


class TestWhatIsNotUnderstoodStays:
    """Foreign objects, and stores whose records cannot be relied on."""

    @pytest.mark.parametrize(
        "key",
        [
            "README",
            "shards/notes.txt",
            "shards/shard-0000009.tar",
            "shards/shard-9.tar",
            "t0123/c/9/0/0/0",
            "t0500/c/009/0/0/0",
            "commits/9.json",
            "commits/0000009.json",
            "index/000000.npy",
            "claims/9.json",
            "seals/8.json",
            "zarr/zarr.json",
        ],
    )
    def test_foreign_objects_are_named(self, tmp_path: Path, spec: TrajectorySpec, key: str) -> None:
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        write_bytes(join(uri, key), b"mine")
        before = contents(uri)
        (found,) = clean(uri)
        assert (found.old, found.foreign) == ((), (key,))
        assert contents(uri) == before

    def test_every_key_of_a_store_is_known(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        root = str(tmp_path)
        fill(root, spec, 12)
        uri = store_uri(root, spec)
        write_bytes(claim_uri(uri, 0), b"{}")
        roles = [StoreKeys(spec).role(key) for key in list_prefix(uri)]
        assert Role.FOREIGN not in roles
        assert {*Role} - {*roles} <= {Role.FOREIGN, Role.METADATA}

    @pytest.mark.parametrize("record", ["manifest.json", "spec.json"])
    def test_an_unreadable_record(self, tmp_path: Path, spec: TrajectorySpec, record: str) -> None:
        root = str(tmp_path)
        uri = write(root, spec, 0, 1)
        if record == "manifest.json":
            seal(root, spec, 8)
        delete(commit_uri(uri, 1))
        write_bytes(join(uri, record), b"{")
        before = contents(uri)
        (found,) = clean(uri)
        assert found.problem is not None
        assert record in found.problem
        assert contents(uri) == before

    def test_records_of_two_specs(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        root = str(tmp_path)
        other = replace(spec, base_seed=8)
        fill(root, spec, 8)
        fill(root, other, 8)
        uri = store_uri(root, spec)
        write_bytes(manifest_uri(uri), contents(store_uri(root, other), "manifest.json")["manifest.json"])
        (found,) = clean(uri)
        assert "of one spec" in (found.problem or "")

    def test_nothing_there(self, root: str) -> None:
        assert find_garbage(join(root, "nowhere"), 0) == []
        with pytest.raises(StoreNotFoundError, match="check the URI"):
            find_garbage(join(root, "digits", "0" * 16), 0)
        with pytest.raises(ValueError, match="0 seconds or more"):
            find_garbage(root, -1)
