"""From N to M samples: no old object is touched, and whoever opened the store before notices nothing."""

import itertools
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    Manifest,
    StoreIncompleteError,
    TrajectoryLoader,
    TrajectorySpec,
    digest,
    missing_shards,
    open_store,
    open_writer,
    seal,
    store_uri,
    verify,
)
from storage.records.shard_index import PAGE_SHARDS, write_index
from storage.testing.damage import Contents, contents, examples, fresh
from storage.testing.oracles import (
    KINDS,
    assert_holds,
    assert_same_batches,
    assert_states,
    shown_states,
    snapshot,
    spec_of_kind,
    watch_writes,
)
from storage.testing.trajectories import fill, make_spec, shard_states
from storage.testing.turns import Turns
from tests.storage.conftest import EVERYWHERE

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def two_shards_on_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few shards fill several pages of the index."""
    monkeypatch.setattr("storage.writing.sealing.write_index", partial(write_index, page_shards=2))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of all objects that are written from now on."""
    addresses: list[str] = []
    watch_writes(monkeypatch, lambda address, write: (write(), addresses.append(address))[0])
    return addresses


def growths(most: int, steps: int = 1) -> st.SearchStrategy[list[int]]:
    """Numbers of samples, one after the other, each greater than the one before."""
    return st.lists(st.integers(1, most), min_size=steps + 1, max_size=steps + 1, unique=True).map(sorted)


def small(spec: TrajectorySpec, **changes: Any) -> TrajectorySpec:
    """Shards of four samples."""
    return make_spec(**{"layout": spec.layout, "shard_samples": 4, "block_samples": 2} | changes)


class TestEveryStore:
    """Both layouts."""

    @pytest.mark.thorough
    @EVERYWHERE
    def test_no_old_object_is_touched(self, root: str, spec: TrajectorySpec, written: list[str]) -> None:
        """Neither changed nor written again, but for the manifest and other tools' metadata: arrays grow longer."""
        one = small(spec)

        @examples(root, local=10, s3=2)
        @given(sizes=growths(26))
        def property_(sizes: list[int]) -> None:
            place, (before, after) = fresh(root), sizes
            uri = store_uri(place, one)
            fill(place, one, before)
            old, shards = contents(uri), one.num_shards(before)
            written.clear()
            new = list(range(shards, one.num_shards(after)))
            assert missing_shards(place, one, after) == new
            manifest = fill(place, one, after)
            now, keys = contents(uri), {address.removeprefix(uri.removeprefix("s3://") + "/") for address in written}
            growing = {key for key in old if key == "manifest.json" or key.endswith("zarr.json")}
            assert {key: now[key] for key in old if key not in growing} == Contents(
                {key: data for key, data in old.items() if key not in growing}
            )
            # A page is named by its content: one that is not full is another one when shards are added.
            assert keys & set(old) <= growing | {page.key for page in manifest.shards.pages[shards // 2 :]}
            assert {key for key in keys if key.startswith("commits/")} == {f"commits/{n:06d}.json" for n in new}
            assert_holds(uri, one, after)
            assert verify(uri) == []

        property_()

    @pytest.mark.thorough
    def test_in_many_steps_or_at_once(self, root: str, spec: TrajectorySpec) -> None:
        """The same objects, pages and statistics, whatever the steps, in whatever order their shards are computed."""
        one = small(spec)

        @examples(root, local=6)
        @given(sizes=st.integers(1, 4).flatmap(lambda steps: growths(29, steps)), data=st.data())
        def property_(sizes: list[int], data: st.DataObject) -> None:
            stepwise, direct = fresh(root), fresh(root)
            for size in sizes:
                writer = open_writer(stepwise, one)
                for shard in data.draw(st.permutations(missing_shards(stepwise, one, size))):
                    writer.write_shard(shard, shard_states(one, shard), elapsed_seconds=0.5)
                found = seal(stepwise, one, size)
                assert_holds(store_uri(stepwise, one), one, size)
            expected = fill(direct, one, sizes[-1])
            assert snapshot(store_uri(stepwise, one)) == snapshot(store_uri(direct, one))
            assert_same_manifest(found, expected)
            assert found.created <= found.sealed
            assert verify(store_uri(stepwise, one)) == []

        property_()

    @pytest.mark.thorough
    def test_readers_and_loaders_that_were_opened_before_go_on(self, root: str, spec: TrajectorySpec) -> None:
        """Beyond the last page too; a loader in the middle of an epoch finishes it, and those that follow."""
        one = small(spec)

        @examples(root, local=10)
        @given(sizes=growths(26), batch=st.integers(1, 3), used=st.integers(0, 30), prefetch=st.integers(0, 2))
        def property_(sizes: list[int], batch: int, used: int, prefetch: int) -> None:
            place, (before, after) = fresh(root), sizes
            uri, expected = store_uri(place, one), shown_states(one, 0, before)
            fill(place, one, before)
            reader, unused = open_store(uri), open_store(uri)
            order: dict[str, Any] = {"batch_size": min(batch, before), "seed": 1, "window": 2, "drop_last": False}
            undisturbed = TrajectoryLoader(uri, **order)
            epochs = list(itertools.islice(undisturbed, 2 * undisturbed.batches_per_epoch))
            old = TrajectoryLoader(uri, **order, prefetch=prefetch)
            stream = iter(old)
            used = min(used, len(epochs))
            assert_same_batches(itertools.islice(stream, used), epochs[:used])
            assert_states(reader.read_shard(0), expected, reader.manifest.shard_range(0))
            fill(place, one, after)
            assert_same_batches(itertools.islice(stream, len(epochs) - used), epochs[used:])
            stream.close()
            for one_reader in (reader, unused, pickle.loads(pickle.dumps(unused))):
                assert one_reader.manifest.num_samples == before
                for shard in range(one_reader.manifest.num_shards):
                    assert_states(one_reader.read_shard(shard), expected, one_reader.manifest.shard_range(shard))
                assert_states(one_reader.read_samples(range(before)), expected, range(before))
                with pytest.raises(IndexError, match=f"shows samples 0 to {before - 1}"):
                    one_reader.read_samples([before])
            assert_holds(uri, one, after)
            # A new one sees all samples, and the old ones too by the name of `num_samples`.
            again = TrajectoryLoader(uri, **order, num_samples=before)
            assert_same_batches(itertools.islice(again, len(epochs)), epochs)
            seen = [index for found in TrajectoryLoader(uri, **order).epoch(0) for index in found.indices.tolist()]
            assert sorted(seen) == list(range(after))

        property_()

    @pytest.mark.thorough
    def test_a_stop_while_it_grows_leaves_the_old_store(
        self, root: str, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After any object: readers see the old samples until the manifest is there; the next run finishes."""
        one, turns = small(spec), Turns()
        watch_writes(monkeypatch, turns.write)

        @examples(root, local=10)
        @given(sizes=growths(18), stop=st.integers(0, 45))
        def property_(sizes: list[int], stop: int) -> None:
            place, (before, after) = fresh(root), sizes
            uri = store_uri(place, one)
            fill(place, one, before)
            keys = turns.run([lambda: fill(place, one, after)], [0] * stop)
            sealed = any(key.endswith("/manifest.json") for key in keys)
            assert_holds(uri, one, after if sealed else before)
            commits = sum("/commits/" in key for key in keys)
            left = list(range(one.num_shards(before) + commits, one.num_shards(after)))
            assert missing_shards(place, one, after) == left
            if left:
                with pytest.raises(StoreIncompleteError, match=f"{len(left)} of {one.num_shards(after)} are missing"):
                    seal(place, one, after)
            fill(place, one, after)
            assert_holds(uri, one, after)
            assert verify(uri) == []

        property_()

    def test_a_store_never_shrinks(self, root: str, spec: TrajectorySpec, written: list[str]) -> None:
        manifest = fill(root, small(spec), 14)
        written.clear()
        for fewer in (1, 4, 13, 14):
            assert missing_shards(root, small(spec), fewer) == []
            assert seal(root, small(spec), fewer).to_json() == manifest.to_json()
        assert written == []
        assert_holds(store_uri(root, small(spec)), small(spec), 14)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_every_encoding_grows_alike(kind: str, tmp_path: Path) -> None:
    spec = spec_of_kind(kind, shard_samples=4, block_samples=4)
    stepwise, direct = str(tmp_path / "stepwise"), str(tmp_path / "direct")
    for size in (3, 4, 9, 10, 22):
        found = fill(stepwise, spec, size)
        assert_holds(store_uri(stepwise, spec), spec, size)
    assert_same_manifest(found, fill(direct, spec, 22))
    assert snapshot(store_uri(stepwise, spec)) == snapshot(store_uri(direct, spec))


def test_a_store_of_full_pages_grows_by_new_ones(tmp_path: Path) -> None:
    """With the page size of real stores: a store keeps the one that it was begun with."""
    assert PAGE_SHARDS == 4096
    spec = make_spec(shard_samples=1, block_samples=1)
    for size, pages in ((4, 2), (6, 3), (7, 4)):
        manifest = fill(str(tmp_path), spec, size)
        assert (len(manifest.shards.pages), manifest.shards.page_shards) == (pages, 2)
        kept = [page.key for page in manifest.shards.pages[: size // 2]]
        assert kept == [page.key for page in fill(str(tmp_path), spec, size + 1).shards.pages[: size // 2]]


def assert_same_manifest(found: Manifest, expected: Manifest) -> None:
    """But for the rounding of statistics that were pooled in another order, and who sealed it when."""
    assert (found.num_samples, found.digest) == (expected.num_samples, digest(expected.spec))
    assert found.shards.to_json() == expected.shards.to_json()
    assert found.metadata == expected.metadata
    assert min(found.elapsed_seconds, expected.elapsed_seconds) >= 0.5 * found.num_shards
    for t, statistics in expected.statistics.items():
        for name, value in statistics.to_json().items():
            other = found.statistics[t].to_json()[name]
            exact = name in ("min", "max", "max_error")
            np.testing.assert_allclose(other, value, rtol=0 if exact else 1e-12, atol=0 if exact else 1e-15)
