"""A removed store is gone, whole; everything else is where it was, whatever links and names suggest."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from storage import (
    ManifestError,
    StoreError,
    StoreNotFoundError,
    TrajectorySpec,
    delete,
    join,
    list_prefix,
    open_store,
    open_writer,
    store_uri,
    summarize,
    verify,
    write_bytes,
)
from storage.care import removal
from storage.care.removal import remove_store, store_contents
from storage.errors import StoreIncompleteError
from storage.records.manifest import manifest_uri
from storage.testing.damage import contents
from storage.testing.trajectories import fill, make_spec, shard_states
from tests.storage.conftest import EVERYWHERE

pytestmark = pytest.mark.timeout(300)


def remove(uri: str) -> None:
    remove_store(store_contents(uri))


class TestAStore:
    """Sealed or growing, with all that lies in it."""

    @EVERYWHERE
    def test_it_goes_and_others_stay(self, root: str, spec: TrajectorySpec) -> None:
        for seed in (7, 8):
            fill(root, replace(spec, base_seed=seed), 20)
        uri, other = (store_uri(root, replace(spec, base_seed=seed)) for seed in (7, 8))
        write_bytes(join(uri, "notes", "README"), b"of somebody")
        write_bytes(join(root, "references", "curve.json"), b"{}")
        before = contents(root)
        found = store_contents(uri)
        mine = {key: data for key, data in before.items() if join(root, key).startswith(f"{uri}/")}
        assert (found.num_objects, found.total_bytes) == (len(mine), sum(map(len, mine.values())))
        calls: list[tuple[int, int]] = []
        remove_store(found, progress=lambda done, total: calls.append((done, total)))
        assert calls[-1] == (len(mine), len(mine))
        assert contents(root) == {key: data for key, data in before.items() if key not in mine}
        assert summarize(uri) is None
        assert verify(other) == []
        with pytest.raises(StoreNotFoundError, match="check the URI"):
            store_contents(uri)

    def test_a_growing_one(self, root: str, spec: TrajectorySpec) -> None:
        writer = open_writer(root, spec)
        writer.write_shard(1, shard_states(spec, 1))
        remove(writer.uri + "/")
        assert list_prefix(root) == []
        fill(root, spec, 8)
        assert verify(writer.uri) == []

    def test_a_sibling_whose_name_begins_the_same(self, root: str, spec: TrajectorySpec) -> None:
        fill(join(root, "made"), spec, 8)
        made = contents(store_uri(join(root, "made"), spec))
        for name in ("abc", "abcd"):
            for key, data in made.items():
                write_bytes(join(root, name, key), data)
        remove(join(root, "abc"))
        assert list_prefix(join(root, "abc")) == []
        assert contents(join(root, "abcd")) == made
        assert verify(join(root, "abcd")) == []

    def test_folders_go_up_to_its_own(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        Path(uri, "empty", "deeper").mkdir(parents=True)
        remove(uri)
        assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["digits"]

    def test_from_inside(self, tmp_path: Path, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(str(tmp_path), spec, 8)
        monkeypatch.chdir(store_uri(str(tmp_path), spec))
        remove(".")
        assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["digits"]

    def test_by_a_file_uri(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path), spec, 8)
        remove(f"file://{store_uri(str(tmp_path), spec)}")
        assert list((tmp_path / "digits").iterdir()) == []

    def test_unfinished_writes_go_too(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        Path(uri, "commits", ".tmp-x").write_bytes(b"half")
        assert [one.key for one in store_contents(uri).leftovers] == ["commits/.tmp-x"]
        remove(uri)
        assert not Path(uri).exists()


class TestSymbolicLinks:
    """They may lead anywhere: unlinked, never followed."""

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        """A folder that must survive."""
        outside = tmp_path / "outside"
        (outside / "below").mkdir(parents=True)
        for name in ("file", "below/file", "manifest.json"):
            (outside / name).write_text("precious")
        return outside

    def test_what_they_lead_to_survives(self, tmp_path: Path, spec: TrajectorySpec, outside: Path) -> None:
        root = str(tmp_path / "root")
        fill(root, spec, 8)
        store = Path(store_uri(root, spec))
        targets = {"folder": outside, "commits/folder": outside, "file": outside / "file", "commits/gone": "nowhere"}
        targets |= {"loop": "loop", "up": store.parent}
        for name, target in targets.items():
            (store / name).symlink_to(target)
        remove(str(store))
        assert not store.exists()
        assert sorted(path.name for path in outside.rglob("*")) == ["below", "file", "file", "manifest.json"]
        assert (outside / "below" / "file").read_text() == "precious"

    def test_a_link_to_a_store_is_refused(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path / "root"), spec, 8)
        uri = store_uri(str(tmp_path / "root"), spec)
        before = contents(uri)
        (tmp_path / "link").symlink_to(uri)
        for name in ("link", "link/"):
            with pytest.raises(StoreError, match="name its target"):
                store_contents(f"{tmp_path}/{name}")
        assert contents(uri) == before


class TestRefused:
    """With everything left where it is."""

    def test_a_root(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 8)
        before = contents(root)
        for place in (root, join(root, "digits")):
            with pytest.raises(StoreNotFoundError, match=r"holds 1 below it.*name one of them"):
                store_contents(place)
        assert contents(root) == before

    def test_a_store_with_another_below(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        fill(join(uri, "stores"), spec, 8)
        before = contents(uri)
        with pytest.raises(StoreError, match="another one lies at"):
            store_contents(uri)
        assert contents(uri) == before

    @pytest.mark.parametrize("place", ["nowhere", "files"])
    def test_what_is_no_store(self, tmp_path: Path, place: str) -> None:
        root = str(tmp_path)
        write_bytes(join(root, "files", "shards", "data"), b".")
        with pytest.raises(StoreNotFoundError, match=r"neither spec\.json nor manifest\.json"):
            store_contents(join(root, place))

    @pytest.mark.parametrize("records", [("spec.json", "manifest.json"), ("spec.json", None), (None, "manifest.json")])
    def test_a_store_that_cannot_be_read(self, tmp_path: Path, spec: TrajectorySpec, records: tuple[str, ...]) -> None:
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        for key, damaged in zip(("spec.json", "manifest.json"), records, strict=True):
            if damaged:
                write_bytes(join(uri, key), b"{}")
            else:
                delete(join(uri, key))
        before = contents(uri)
        with pytest.raises(ManifestError, match="delete it by hand"):
            store_contents(uri)
        assert contents(uri) == before

    def test_an_s3_name_that_leads_elsewhere(self, s3_root: str) -> None:
        fill(s3_root, make_spec(), 8)
        uri, bucket = store_uri(s3_root, make_spec()), s3_root.split("/")[2]
        found = removal.list_objects(uri)
        odd = replace(found[0], key="../other/object")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(removal, "list_objects", lambda _: [*found, odd])
            with pytest.raises(StoreError, match=r"foreign object '\.\./other/object'"):
                store_contents(uri)
        assert bucket in uri
        assert verify(uri) == []


class TestOneRecordIsEnough:
    """Whose store it is must be known, from either record."""

    @pytest.mark.parametrize("damage", [delete, lambda uri: write_bytes(uri, b"{")], ids=["missing", "damaged"])
    @pytest.mark.parametrize("record", ["spec.json", "manifest.json"])
    def test_the_other_may_be_damaged(
        self, tmp_path: Path, spec: TrajectorySpec, record: str, damage: Callable[[str], None]
    ) -> None:
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        damage(join(uri, record))
        remove(uri)
        assert not Path(uri).exists()


class TestAKill:
    """At any deletion: what is left is an unsealed store, which can be removed again."""

    @pytest.mark.parametrize("record", ["whole", "spec.json", "manifest.json"])
    def test_after_any_number_of_deletions(
        self, tmp_path: Path, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch, record: str
    ) -> None:
        fill(str(tmp_path / "made"), spec, 8)
        made = Path(store_uri(str(tmp_path / "made"), spec))
        (made / record).unlink(missing_ok=True)
        monkeypatch.setattr(removal, "_DELETIONS_AT_ONCE", 1)
        for after in range(len(list_prefix(str(made)))):
            uri = str(shutil.copytree(made, tmp_path / f"{after:03d}"))
            left = [after]

            def dying(address: str, left: list[int] = left) -> None:
                if left[0] == 0:
                    raise KeyboardInterrupt
                left[0] -= 1
                os.unlink(address)  # noqa: PTH108

            with monkeypatch.context() as patch:
                patch.setattr(removal, "delete", dying)
                with pytest.raises(KeyboardInterrupt):
                    remove(uri)
            if after > 0 and record != "manifest.json":
                with pytest.raises(StoreIncompleteError):
                    open_store(uri)
            remove(uri)
            assert not Path(uri).exists()

    def test_somebody_who_goes_on_writing(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        found = store_contents(uri)
        open_writer(str(tmp_path), spec).write_shard(5, shard_states(spec, 5))
        with pytest.raises(StoreError, match=r"appeared in .* meanwhile.*run the same command again"):
            remove_store(found)
        assert not Path(manifest_uri(uri)).exists()
        remove(uri)
        assert not Path(uri).exists()
