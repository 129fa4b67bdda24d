"""`advkd cache gc|convert|rm` as typed: what they list, what they remove or make, and what they refuse."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from storage import TrajectorySpec, delete, join, list_prefix, open_writer, store_uri, verify
from storage.records.commits import commit_uri
from storage.records.manifest import manifest_uri
from storage.testing.damage import contents
from storage.testing.trajectories import fill, make_spec, shard_states
from tests.advkd.cli.cache_commands import make_stores, refused, run, told

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stores, for copies."""
    root = tmp_path_factory.mktemp("stores")
    make_stores(str(root))
    return root


@pytest.fixture
def root(stores: Path, tmp_path: Path) -> str:
    """A sealed store, a growing one and one with a damaged manifest."""
    return str(shutil.copytree(stores, tmp_path / "root"))


class TestGc:
    """Leftovers of interrupted work."""

    @pytest.fixture
    def uri(self, root: str) -> str:
        """A growing store with a killed shard, half a write and something foreign."""
        spec = make_spec(base_seed=8)
        uri = store_uri(root, spec)
        open_writer(root, spec).write_shard(2, shard_states(spec, 2))
        delete(commit_uri(uri, 2))
        Path(uri, ".tmp-spec.json-1-abcdef01").write_bytes(bytes(100))
        Path(uri, "NOTES").write_text("mine")
        return uri

    def test_lists_and_removes(self, uri: str) -> None:
        before = contents(uri)
        listed = run("gc", uri, "--older-than", "0s", "--dry-run").stdout
        assert contents(uri) == before
        assert listed.count("would go") == 4
        assert ".tmp-spec.json-1-abcdef01" in listed
        done = run("gc", uri, "--older-than", "0s").stdout
        for part in ("removed 4 object(s)", "unfinished write", "without a commit record", "NOTES"):
            assert part in done
        assert done.splitlines()[-1] == uri
        assert before.items() - contents(uri).items() == {(key, data) for key, data in before.items() if "/c/2/" in key}
        assert "nothing to remove" in run("gc", uri, "--older-than", "0s").stdout

    def test_nothing_young_goes(self, uri: str) -> None:
        before = contents(uri)
        for age in ([], ["--older-than", "30m"], ["--older-than", "12h"], ["--older-than", "2w"]):
            shown = run("gc", uri, *age).stdout
            assert "4 too young" in shown
            assert "removed 0" in shown
        assert contents(uri) == before
        # 15 min are left to clocks that differ.
        for minutes, says in ((40, "removed 0"), (50, "removed 1 object(s), 100 B; 3 too young")):
            os.utime(join(uri, ".tmp-spec.json-1-abcdef01"), (0, time.time() - minutes * 60))
            assert says in run("gc", uri, "--older-than", "30m").stdout

    def test_json_of_a_root(self, uri: str, root: str) -> None:
        found = told("gc", root, "--older-than", "0s")
        stores = {one["uri"]: one for one in found["stores"]}
        assert len(stores) == 3
        assert sorted(one["kind"] for one in stores[uri]["removed"]) == [
            *["data of a shard without a commit record"] * 3,
            "unfinished write",
        ]
        assert stores[uri]["foreign"] == ["NOTES"]
        assert "surprise" in stores[store_uri(root, make_spec(base_seed=9))]["problem"]

    @pytest.mark.parametrize("age", ["1", "d", "-1d", "1y", "1.5h", ""])
    def test_an_age_that_is_none(self, root: str, age: str) -> None:
        assert "write 1d or 30m" in refused("gc", root, f"--older-than={age}")

    def test_long_lists_are_cut(self, tmp_path: Path) -> None:
        spec = make_spec()
        uri = open_writer(str(tmp_path), spec).write_shard(0, shard_states(spec, 0)) and store_uri(str(tmp_path), spec)
        for number in range(30):
            Path(uri, f".tmp-{number}").write_bytes(b".")
            Path(uri, f"foreign-{number}").write_bytes(b".")
        shown = run("gc", uri, "--older-than", "0s").stdout
        assert "... and 10 more" in shown
        assert "10 more; --json lists all" in shown


class TestConvert:
    """The same trajectories in another layout."""

    def test_and_again(self, root: str) -> None:
        uri, target = store_uri(root, make_spec()), store_uri(root, make_spec(layout="webdataset"))
        result = run("convert", uri, "--to", "webdataset")
        assert "3 of 3 shards copied" in result.stdout
        assert result.stdout.splitlines()[-1] == target
        assert verify(target) == []
        again = told("convert", uri, "--to", "webdataset")
        assert (again["uri"], again["from"], again["copied"], again["num_samples"]) == (target, uri, 0, 20)

    def test_refusals(self, root: str) -> None:
        uri = store_uri(root, make_spec())
        assert "is zarr already" in refused("convert", uri, "--to", "zarr")
        assert "a layout that is installed" in refused("convert", uri, "--to", "parquet")
        assert "not written yet" in refused("convert", store_uri(root, make_spec(base_seed=8)), "--to", "webdataset")


class TestRm:
    """Removing a store."""

    def test_only_with_yes(self, root: str) -> None:
        uri, before = store_uri(root, make_spec()), contents(root)
        objects = len(list_prefix(uri))
        result = run("rm", uri, code=1)
        assert result.stderr.startswith("error: a store is removed only with --yes")
        assert f"{objects} objects" in result.stderr
        for part in ("data object", "commit record", "identity", uri):
            assert part in result.stdout
        asked = told("rm", uri, code=1)
        assert (asked["removed"], asked["objects"]) == (False, objects)
        assert asked["bytes"] == sum(len(data) for key, data in before.items() if join(root, key).startswith(uri))
        assert contents(root) == before
        done = run("rm", uri, "--yes")
        assert f"removed {objects} objects" in done.stdout
        assert done.stdout.splitlines()[-1] == uri
        assert contents(root) == {key: data for key, data in before.items() if not join(root, key).startswith(uri)}
        assert "check the URI" in refused("rm", uri, "--yes")

    def test_json(self, root: str) -> None:
        assert told("rm", store_uri(root, make_spec(base_seed=8)), "--yes")["removed"] is True
        assert not Path(store_uri(root, make_spec(base_seed=8))).exists()

    def test_refusals(self, root: str) -> None:
        assert "name one of them" in refused("rm", root, "--yes")
        uri = store_uri(root, make_spec(base_seed=9))
        delete(join(uri, "spec.json"))
        assert "delete it by hand" in refused("rm", uri, "--yes")


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_a_life_in_s3(s3_root: str, layout: str) -> None:
    spec = make_spec(layout=layout)
    fill(s3_root, spec, 8)
    fill(s3_root, spec, 20)
    uri = store_uri(s3_root, spec)
    for command in ("show", "verify"):
        assert run(command, uri).stdout.splitlines()[-1] == uri
    assert uri in run("ls", s3_root).stdout
    assert "nothing to remove" not in run("gc", s3_root).stdout
    # What an extension has replaced: a page and a copy of the manifest. The clock of S3 may be ahead of ours.
    deadline = time.monotonic() + 10
    while "removed 2 object(s)" not in run("gc", uri, "--older-than", "0s").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    other = {"zarr": "webdataset", "webdataset": "zarr"}[layout]
    target = run("convert", uri, "--to", other).stdout.splitlines()[-1]
    assert target == store_uri(s3_root, replace(spec, layout=other))
    assert run("rm", uri, "--yes").stdout.splitlines()[-1] == uri
    assert list_prefix(uri) == []
    assert verify(target) == []


def test_an_interrupted_removal_is_a_growing_store(tmp_path: Path, spec: TrajectorySpec) -> None:
    fill(str(tmp_path), spec, 8)
    uri = store_uri(str(tmp_path), spec)
    delete(manifest_uri(uri))
    assert told("show", uri)["state"] == "growing"
    assert told("rm", uri, "--yes")["sealed"] is False
