"""Every byte that a reader gives was compared with what was committed: each sample of a ranged read, and each time."""

from pathlib import Path

import numpy as np
import pytest

from storage import ShardCorruptError, join, open_store, read_bytes, store_uri, write_bytes
from storage.records import PIECE_BYTES
from storage.records.byte_cache import ByteCache
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill, make_spec

SAMPLES = 16
LAYOUTS = pytest.mark.parametrize("layout", ["zarr", "webdataset"])


def sharing_a_piece(data: bytes, samples: list[bytes], damaged: int) -> set[int]:
    """Numbers of the samples that lie, in part, in a piece that holds the first byte of sample `damaged`."""
    piece = data.index(samples[damaged]) // PIECE_BYTES
    starts = [data.index(sample) for sample in samples]
    return {
        number
        for number, (start, sample) in enumerate(zip(starts, samples, strict=True))
        if start // PIECE_BYTES <= piece <= (start + len(sample) - 1) // PIECE_BYTES
    }


def flipped(data: bytes, part: bytes) -> bytes:
    """The data with the lowest bit of the first byte of a part of it flipped; the part occurs once."""
    assert data.count(part) == 1
    place = data.index(part)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@LAYOUTS
@pytest.mark.parametrize("held", [False, True], ids=["asked for", "held"])
def test_a_ranged_read_refuses_exactly_the_piece_with_a_changed_bit(tmp_path: Path, layout: str, held: bool) -> None:
    """One bit of a state, which any decoder takes: it spoils the samples that share its piece and no others."""
    spec = make_spec(layout=layout, sample_shape=(2, 40, 60))
    fill(str(tmp_path), spec, SAMPLES)
    uri, states = store_uri(str(tmp_path), spec), shown_states(spec, 0, SAMPLES)
    for damaged in (0, 5, 15):
        shard, position = damaged // 8, spec.timesteps.index(500) if layout == "zarr" else 0
        address = join(uri, open_store(uri).manifest.shards.keys(shard)[position])
        good = read_bytes(address)
        write_bytes(address, flipped(good, states[500][damaged].tobytes()))
        first = 8 * shard
        inside = sharing_a_piece(good, [state.tobytes() for state in states[500][first : first + 8]], damaged - first)
        assert 1 <= len(inside) <= 3
        touched = {first + number for number in inside}
        for sample in range(SAMPLES):
            reader = open_store(uri, kept=ByteCache(2**20) if held else None)
            if sample in touched:
                with pytest.raises(ShardCorruptError, match=f"in shard {shard} "):
                    reader.read_samples([sample], [500])
            else:
                np.testing.assert_array_equal(reader.read_samples([sample], [500])[500][0], states[500][sample])
        write_bytes(address, good)


@LAYOUTS
def test_a_shard_that_was_read_is_compared_again_whenever_it_is_read_again(tmp_path: Path, layout: str) -> None:
    """A bit that changes under an open reader, then comes back."""
    spec = make_spec(layout=layout)
    fill(str(tmp_path), spec, SAMPLES)
    uri, states = store_uri(str(tmp_path), spec), shown_states(spec, 0, SAMPLES)
    reader = open_store(uri)
    position = spec.timesteps.index(500) if layout == "zarr" else 0
    address = join(uri, reader.manifest.shards.keys(1)[position])
    good = read_bytes(address)
    for _ in range(2):
        np.testing.assert_array_equal(reader.read_shard(1)[500], states[500][8:16])
        write_bytes(address, flipped(good, states[500][11].tobytes()))
        with pytest.raises(ShardCorruptError, match="in shard 1 "):
            reader.read_shard(1)
        write_bytes(address, good)
