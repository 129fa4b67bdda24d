"""A converted store is what precompute would have made in that layout, and the way back gives what there was."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage import (
    ManifestError,
    ShardCorruptError,
    StoreIncompleteError,
    StoreNotFoundError,
    TrajectorySpec,
    delete,
    is_sealed,
    join,
    open_store,
    open_writer,
    read_manifest,
    store_uri,
    verify,
    write_bytes,
)
from storage.care.conversion import Conversion, convert
from storage.records.commits import commit_uri, read_commit, run_facts_apart
from storage.records.manifest import same_store
from storage.testing.damage import Contents, contents
from storage.testing.oracles import only_data
from storage.testing.trajectories import fill, make_spec, shard_states

pytestmark = pytest.mark.timeout(300)

# With these, the first state that the pretend teacher gives is the noise itself.
SEEDED = {"noise": "seeded", "signal": (0.0, 0.5, 1.0), "sigma": (1.0, 0.8, 0.0)}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "float32": {"dtype": "float32"},
    "uint8": {"uint8_ranges": (None, None, (-8.0, 8.0))},
    "pyramid": {"resolutions": ((4, 4), (2, 2), (4, 2))},
    "seeded": SEEDED,
    "everything": {
        **SEEDED,
        "resolutions": ((2, 2), (4, 4), (2, 4)),
        "uint8_ranges": (None, (-8.0, 8.0), (-8.0, 8.0)),
    },
}
OTHER = {"zarr": "webdataset", "webdataset": "zarr"}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a spec may say of how states are stored."""
    return VARIANTS[request.param]


def data(uri: str) -> Contents:
    """Data objects, metadata, index: all that has neither a time nor a name in it."""
    found = contents(uri)
    return Contents(only_data(read_manifest(uri).spec, found) | contents(uri, "index/"))


def converted(uri: str, root: str | None = None) -> Conversion:
    return convert(uri, OTHER[read_manifest(uri).spec.layout], root)


class TestBitForBit:
    """The law of conversion."""

    @pytest.mark.thorough
    def test_it_equals_precomputing_in_that_layout(
        self, tmp_path: Path, spec: TrajectorySpec, variant: dict[str, Any]
    ) -> None:
        self.check(str(tmp_path / "one"), str(tmp_path / "other"), replace(spec, **variant))

    def test_in_s3(self, s3_root: str, spec: TrajectorySpec) -> None:
        self.check(join(s3_root, "one"), join(s3_root, "other"), replace(spec, **VARIANTS["everything"]))

    def check(self, root: str, expected_root: str, spec: TrajectorySpec) -> None:
        target = replace(spec, layout=OTHER[spec.layout])
        fill(root, spec, 20)
        expected = fill(expected_root, target, 20)
        uri, before = store_uri(root, spec), contents(store_uri(root, spec))
        made = converted(uri)
        assert (made.uri, made.digest, made.num_samples) == (store_uri(root, target), expected.digest, 20)
        assert (made.shards, made.copied) == (3, 3)
        assert data(made.uri) == data(store_uri(expected_root, target))
        assert same_store(read_manifest(made.uri), expected)
        assert contents(made.uri)["spec.json"] == contents(store_uri(expected_root, target))["spec.json"]
        for shard in range(3):
            assert run_facts_apart(read_commit(made.uri, shard), read_commit(store_uri(expected_root, target), shard))
        assert verify(made.uri) == []
        assert contents(uri) == before

    def test_there_and_back(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        spec = replace(spec, **VARIANTS["everything"])
        sealed = fill(str(tmp_path / "one"), spec, 20)
        uri = store_uri(str(tmp_path / "one"), spec)
        back = converted(converted(uri).uri, str(tmp_path / "other"))
        assert data(back.uri) == data(uri)
        assert same_store(read_manifest(back.uri), sealed)

    def test_from_disk_to_s3_and_back(self, tmp_path: Path, s3_root: str, spec: TrajectorySpec) -> None:
        fill(str(tmp_path), spec, 20)
        uri = store_uri(str(tmp_path), spec)
        away = converted(uri, s3_root)
        assert away.uri == store_uri(s3_root, replace(spec, layout=OTHER[spec.layout]))
        back = converted(away.uri, str(tmp_path / "back"))
        assert data(back.uri) == data(uri)
        one, other = (open_store(place).read_samples(range(20)) for place in (uri, away.uri))
        for timestep in spec.timesteps:
            np.testing.assert_array_equal(one[timestep], other[timestep])

    def test_who_computed_a_shard_and_when_is_kept(
        self, tmp_path: Path, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ADVKD_AUTHOR", "whoever computed")
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        monkeypatch.setenv("ADVKD_AUTHOR", "whoever converts")
        made = converted(uri)
        before, after = read_commit(uri, 0), read_commit(made.uri, 0)
        for fact in ("author", "revision", "writer", "created", "statistics"):
            assert getattr(after, fact) == getattr(before, fact)
        assert read_manifest(made.uri).author == "whoever converts"


class TestResuming:
    """Run again, it copies what is missing."""

    def test_only_missing_shards_are_copied(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 40)
        uri = store_uri(root, spec)
        calls: list[tuple[int, int]] = []

        def stop(done: int, total: int) -> None:
            calls.append((done, total))
            if done == 2:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            convert(uri, OTHER[spec.layout], progress=stop, threads=1)
        assert calls == [(1, 5), (2, 5)]
        target = replace(spec, layout=OTHER[spec.layout])
        assert not is_sealed(root, target, 40)
        here = contents(store_uri(root, target))
        rest = converted(uri)
        assert 1 <= rest.copied <= 3
        assert here.items() <= contents(rest.uri).items()
        assert converted(uri).copied == 0
        assert contents(rest.uri).items() >= here.items()
        assert verify(rest.uri) == []

    def test_a_store_that_grew(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        root = str(tmp_path)
        fill(root, spec, 12)
        uri = store_uri(root, spec)
        assert converted(uri).copied == 2
        fill(root, spec, 30)
        grown = converted(uri)
        assert (grown.copied, grown.num_samples) == (2, 30)
        assert verify(grown.uri) == []


class TestRefused:
    """With nothing made."""

    def test_the_same_layout(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path), spec, 8)
        with pytest.raises(ValueError, match=f"is {spec.layout} already"):
            convert(store_uri(str(tmp_path), spec), spec.layout)
        with pytest.raises(ValueError, match=r"needs a layout that is installed, one of"):
            convert(store_uri(str(tmp_path), spec), "parquet")

    def test_no_store_and_a_growing_one(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        with pytest.raises(StoreNotFoundError, match="nothing at"):
            convert(str(tmp_path / "nowhere"), "zarr")
        open_writer(str(tmp_path), spec).write_shard(0, shard_states(spec, 0))
        with pytest.raises(StoreIncompleteError, match="run precompute"):
            convert(store_uri(str(tmp_path), spec), OTHER[spec.layout])

    def test_a_damaged_object(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path), spec, 20)
        uri = store_uri(str(tmp_path), spec)
        key = read_manifest(uri).shards.entries(1)[0].key
        good = contents(uri)[key]
        write_bytes(join(uri, key), good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(ShardCorruptError, match="repair"):
            converted(uri)
        assert not is_sealed(str(tmp_path), replace(spec, layout=OTHER[spec.layout]), 20)
        write_bytes(join(uri, key), good)
        assert verify(converted(uri).uri) == []

    @pytest.mark.parametrize("damage", ["missing", "damaged", "another shard's data"])
    def test_a_damaged_record(self, tmp_path: Path, spec: TrajectorySpec, damage: str) -> None:
        fill(str(tmp_path), spec, 20)
        uri = store_uri(str(tmp_path), spec)
        if damage == "missing":
            delete(commit_uri(uri, 1))
        elif damage == "damaged":
            write_bytes(commit_uri(uri, 1), b"{}")
        else:
            other = replace(spec, base_seed=8)
            fill(str(tmp_path), other, 20)
            write_bytes(commit_uri(uri, 1), contents(store_uri(str(tmp_path), other))["commits/000001.json"])
        with pytest.raises(ManifestError, match=f"repair {uri}"):
            converted(uri)


class TestWhereItGoes:
    """Beside the old one, or below the root that is given."""

    def test_a_store_that_was_moved_needs_a_root(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path / "root"), spec, 8)
        shutil.move(store_uri(str(tmp_path / "root"), spec), tmp_path / "moved")
        with pytest.raises(ValueError, match="--root"):
            converted(str(tmp_path / "moved"))
        made = converted(str(tmp_path / "moved"), str(tmp_path / "new"))
        assert made.uri == store_uri(str(tmp_path / "new"), replace(spec, layout=OTHER[spec.layout]))
        assert verify(made.uri) == []

    def test_a_relative_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        fill(".", make_spec(), 8)
        made = converted(store_uri(".", make_spec()).removeprefix("./") + "/")
        assert made.uri == store_uri(".", make_spec(layout="webdataset"))
        assert Path(store_uri(str(tmp_path), make_spec(layout="webdataset")), "manifest.json").is_file()
