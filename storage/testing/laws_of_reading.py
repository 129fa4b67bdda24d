"""The laws of reading, for any layout and place of a store.

Laws are numbered as in the design: 1 sample i is sample i, 2 whole shards, 3 data first, 4 sealed is manifest, 5
nothing on trust, 6 the grid is data, 7 exact resume, 8 byte-identical, 9 no pickle and no listing. Where a law speaks
of "any", hypothesis draws it: any damage (law 5) in `test_corruption.py`, the rest here. Those of writing are in
`test_laws_of_writing.py`.
"""

import itertools
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    GridMismatchError,
    ShardCorruptError,
    TrajectoryLoader,
    TrajectorySpec,
    Writer,
    open_store,
    open_writer,
    seal,
    store_uri,
    verify,
)
from storage.objects import LocalObjects, S3Objects
from storage.testing.damage import Damage, contents, examples, fresh, inflicted
from storage.testing.oracles import assert_holds, assert_same_batches, assert_states
from storage.testing.orders import orders, speeds
from storage.testing.trajectories import fill, make_spec, shard_states, states_of


class ReadingLaws:
    """Tests of every store. Needs the fixtures `root` and `spec`, see `storage.testing`."""

    def test_law_1_sample_i_is_sample_i(self, root: str, spec: TrajectorySpec) -> None:
        """Holds for any number of samples, any blocks and shards, in any order, by any of three writers."""

        @examples(root, local=25, s3=4)
        @given(data=st.data())
        def property_(data: st.DataObject) -> None:
            block, dtype = data.draw(st.integers(1, 4)), data.draw(st.sampled_from(["float16", "float32"]))
            shard = block * data.draw(st.integers(1, 3))
            drawn = make_spec(layout=spec.layout, dtype=dtype, shard_samples=shard, block_samples=block)
            place, num_samples = fresh(root), data.draw(st.integers(1, 3 * shard))
            writers = [open_writer(place, drawn) for _ in range(3)]
            for index in data.draw(st.permutations(range(drawn.num_shards(num_samples)))):
                _write_in_pieces(data.draw, data.draw(st.sampled_from(writers)), drawn, index)
            seal(place, drawn, num_samples)
            assert_holds(store_uri(place, drawn), drawn, num_samples)
            samples = data.draw(st.lists(st.integers(0, num_samples - 1), max_size=9))
            timesteps = data.draw(st.lists(st.sampled_from(drawn.timesteps), min_size=1, unique=True))
            states = open_store(store_uri(place, drawn)).read_samples(samples, timesteps)
            assert list(states) == timesteps
            expected = {t: values.astype(dtype) for t, values in states_of(drawn, 0, num_samples).items()}
            assert_states(states, expected, samples)

        property_()

    def test_law_5_a_changed_object_is_refused_and_named(self, root: str, spec: TrajectorySpec) -> None:
        uri = store_uri(root, spec)
        fill(root, spec, 24)
        good, entries = contents(uri), open_store(uri).manifest.shards.entries
        key, other = entries(1)[0].key, entries(2)[0].key
        data, middle = good[key], len(good[key]) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        for kind, changed in {
            "flip": flipped, "cut": data[:-1], "grow": data + b"\0", "swap": good[other], "delete": None
        }.items():  # fmt: skip
            with inflicted(uri, Damage(key, kind, changed), good):
                with pytest.raises(ShardCorruptError) as caught:
                    open_store(uri).read_shard(1)
                for part in ("shard 1", key, "expected", "found", f"advkd cache repair {uri}"):
                    assert part in str(caught.value)
                assert [(problem.shard, problem.key) for problem in verify(uri)] == [(1, key)]
                assert_states(open_store(uri).read_shard(0), _float16(spec, 8), range(8))
                seen: list[int] = []
                epoch = TrajectoryLoader(uri, batch_size=4, seed=1, window=1).epoch(0)
                with pytest.raises(ShardCorruptError, match="shard 1 "):
                    seen.extend(index for batch in epoch for index in batch.indices.tolist())
                assert not set(seen) & set(range(8, 16))
        assert verify(uri) == []

    def test_law_6_a_grid_is_accepted_exactly_if_it_was_captured(self, root: str, spec: TrajectorySpec) -> None:
        fill(root, spec, 16)
        uri, expected = store_uri(root, spec), _float16(spec, 16)

        @examples(root, local=60, s3=8)
        @given(grid=st.lists(st.sampled_from([*spec.timesteps, 1, 499, 1000, -1]) | st.integers(), max_size=4))
        def property_(grid: list[int]) -> None:
            reader = open_store(uri)
            if grid and set(grid) <= set(spec.timesteps):
                loader = TrajectoryLoader(uri, timesteps=grid, batch_size=4, seed=0)
                batch = next(loader.epoch(0))
                assert_states(batch.states, expected, batch.indices)
                assert_states(reader.read_shard(1, grid), expected, range(8, 16))
                assert_states(reader.read_samples([3, 9], grid), expected, [3, 9])
                for states in (batch.states, reader.read_shard(1, grid), reader.read_samples([3, 9], grid)):
                    assert list(states) == list(dict.fromkeys(grid))
                return
            reads: list[Callable[[], object]] = [
                lambda: TrajectoryLoader(uri, timesteps=grid, batch_size=4, seed=0),
                lambda: reader.read_shard(0, grid),
                lambda: reader.read_samples([0], grid),
                lambda: reader.read_stored(0, grid),
            ]
            for read in reads:
                with pytest.raises(GridMismatchError, match=r"must be a subset.*\(999, 500, 0\); choose") as caught:
                    read()
                assert str(tuple(grid)) in str(caught.value)

        property_()

    def test_law_7_a_resumed_loader_gives_the_same_bits(self, root: str, spec: TrajectorySpec) -> None:
        """Holds from any point on, for any settings of the order and of the reading speed of both loaders."""
        fill(root, spec, 29)
        uri = store_uri(root, spec)

        @examples(root, local=60, s3=8)
        @given(data=st.data())
        def property_(data: st.DataObject) -> None:
            order = data.draw(orders(29, spec.timesteps))
            undisturbed = TrajectoryLoader(uri, **order, **data.draw(speeds()))
            stop = data.draw(st.integers(0, 2 * undisturbed.batches_per_epoch))
            rest = data.draw(st.integers(1, 4)) + undisturbed.batches_per_epoch
            stream = iter(undisturbed)
            for _ in range(stop):
                next(stream)
            state = json.loads(json.dumps(undisturbed.state_dict()))
            resumed = TrajectoryLoader(uri, **order, **data.draw(speeds()))
            resumed.load_state_dict(state)
            assert resumed.state_dict() == state
            assert_same_batches(itertools.islice(resumed, rest), list(itertools.islice(stream, rest)))
            assert resumed.state_dict() == undisturbed.state_dict()

        property_()

    def test_law_9_reading_needs_no_listing_and_no_pickle(
        self, root: str, spec: TrajectorySpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(root, spec, 12)

        def forbidden(*_: object, **__: object) -> None:
            raise AssertionError("not needed to read")

        for kind in (LocalObjects, S3Objects):
            for listing in ("entries", "level", "leftovers"):
                monkeypatch.setattr(kind, listing, forbidden)
        for module, name in ((pickle, "loads"), (pickle, "load"), (pickle, "Unpickler")):
            monkeypatch.setattr(module, name, forbidden)
        assert_holds(store_uri(root, spec), spec, 12)
        assert len(list(TrajectoryLoader(store_uri(root, spec), batch_size=4, seed=0).epoch(0))) == 3


def _float16(spec: TrajectorySpec, num_samples: int) -> dict[int, Any]:
    return {t: values.astype(np.float16) for t, values in states_of(spec, 0, num_samples).items()}


def _write_in_pieces(draw: Callable[[Any], Any], writer: Writer, spec: TrajectorySpec, index: int) -> None:
    """Writes a shard whose rows come in pieces of any length and in any order."""
    size = spec.shard_samples
    cuts = sorted(draw(st.sets(st.integers(1, size - 1), max_size=3)) if size > 1 else [])
    states, buffer = shard_states(spec, index), writer.begin(index)
    for start, stop in draw(st.permutations(list(itertools.pairwise([0, *cuts, size])))):
        buffer.put(start, {t: values[start:stop] for t, values in states.items()})
    buffer.commit()
