"""Zarr v3: a store is a group with one array per stored timestep, `t0999`, shape `[N, C, H, W]`; plain `zarr` reads it.

One shard object holds the `S` samples of one task, in chunks of `block_samples`, with crc32c and no compression (fp16
noise: zstd saves 8 % and reads 2.8x slower). Without compression a shard object is its chunks, each with its crc32c
behind it, and an index of them at the end (sharding codec, v1.0): written here in those bytes, which are Zarr's own (a
test compares), and read at fixed places, so that Zarr's silent fill values never reach anyone.

The group's `zarr.json` holds the metadata of its arrays too (consolidated metadata). So `zarr.open_group` finds the
arrays without listing the store, in which records lie that are no part of Zarr's hierarchy, and arrays end with the
last sample that the store shows: the rest of the last shard is invisible.

zarr writes metadata alone, and is imported for it.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from storage.layouts.protocols import Extent, States
from storage.records import StateEncoding, TrajectorySpec, digest

if TYPE_CHECKING:
    import zarr
    from zarr.abc.buffer import Buffer
    from zarr.storage import MemoryStore

_METADATA = "zarr.json"
_CHECKSUM_BYTES = 4
_INDEX_ENTRY_BYTES = 16


class ZarrLayout:
    """The layout with one object per stored timestep, of key `t0999/c/<shard>/0/0/0`."""

    def templates(self, spec: TrajectorySpec) -> tuple[str, ...]:
        """Returns one key per stored timestep."""
        return tuple(f"{_array_name(t)}/c/{{shard}}/0/0/0" for t in spec.stored_timesteps)

    def object_bytes(self, spec: TrajectorySpec) -> tuple[int, ...]:
        """Returns the sizes: chunks with a checksum each, and the index with one."""
        chunks = _chunks(spec)
        added = chunks * (_CHECKSUM_BYTES + _INDEX_ENTRY_BYTES) + _CHECKSUM_BYTES
        return tuple(spec.shard_samples * spec.encoding(t).state_bytes + added for t in spec.stored_timesteps)

    def encode(self, spec: TrajectorySpec, shard: int, stored: States) -> Iterator[bytes]:
        """Yields the objects, whose bytes do not depend on the shard's number."""
        for t in spec.stored_timesteps:
            yield _encode_array(stored[t], _chunks(spec))

    def extents(self, spec: TrajectorySpec, timesteps: Sequence[int], rows: range) -> Iterator[Extent]:
        """Yields one extent per chunk that holds any of the rows."""
        block = spec.block_samples
        for t in timesteps:
            position, size = spec.stored_timesteps.index(t), spec.encoding(t).state_bytes
            for chunk in range(rows.start // block, -(-rows.stop // block)):
                first, stop = max(rows.start, chunk * block), min(rows.stop, (chunk + 1) * block)
                yield Extent(position, t, range(first, stop), first * size + chunk * _CHECKSUM_BYTES, size)

    def metadata(self, spec: TrajectorySpec, num_samples: int) -> dict[str, bytes]:
        """Returns the `zarr.json` of the group and of its arrays, whose length is the number of samples."""
        import zarr
        from zarr.storage import MemoryStore

        contents: dict[str, Buffer] = {}
        store = MemoryStore(contents)
        zarr.create_group(
            store=store, attributes={"advkd": {"digest": digest(spec), "timesteps": list(spec.timesteps)}}
        )
        for t in spec.stored_timesteps:
            _create_array(store, _array_name(t), spec, spec.encoding(t), num_samples)
        objects = {key: value.to_bytes() for key, value in sorted(contents.items())}
        return objects | {_METADATA: _consolidated(objects)}


def _array_name(timestep: int) -> str:
    return f"t{timestep:04d}"


def _chunks(spec: TrajectorySpec) -> int:
    return spec.shard_samples // spec.block_samples


def _encode_array(stored: npt.NDArray[Any], chunks: int) -> bytes:
    parts: list[Any] = []
    for chunk in np.split(np.ascontiguousarray(stored), chunks):
        data = chunk.reshape(-1).view(np.uint8).data
        parts += [data, crc32c(data).to_bytes(_CHECKSUM_BYTES, "little")]
    return b"".join([*parts, _chunk_index(chunks, stored.nbytes // chunks + _CHECKSUM_BYTES)])


@lru_cache(maxsize=64)
def _chunk_index(chunks: int, chunk_bytes: int) -> bytes:
    """Returns offset and size of each chunk, and a crc32c."""
    entries = np.array([(number * chunk_bytes, chunk_bytes) for number in range(chunks)], dtype="<u8").tobytes()
    return entries + crc32c(entries).to_bytes(_CHECKSUM_BYTES, "little")


def _create_array(
    store: "MemoryStore", name: str, spec: TrajectorySpec, encoding: StateEncoding, length: int
) -> "zarr.Array[Any]":
    import zarr
    from zarr.codecs import Crc32cCodec

    codes = encoding.uint8_range
    return zarr.create_array(
        store=store,
        name=name,
        shape=(length, *encoding.shape),
        shards=(spec.shard_samples, *encoding.shape),
        chunks=(spec.block_samples, *encoding.shape),
        dtype=encoding.stored_dtype,
        filters=None,
        compressors=[Crc32cCodec()],
        fill_value=float("nan") if codes is None else 0,
        attributes={} if codes is None else {"scale_factor": (codes[1] - codes[0]) / 255, "add_offset": codes[0]},
        dimension_names=["sample", "channel", "height", "width"],
        config={"write_empty_chunks": True},
    )


def _consolidated(objects: dict[str, bytes]) -> bytes:
    """Returns the group's metadata with that of its arrays, as `zarr.consolidate_metadata` writes it."""
    group = json.loads(objects[_METADATA])
    arrays = {key.removesuffix(f"/{_METADATA}"): json.loads(data) for key, data in objects.items() if key != _METADATA}
    group["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": arrays}
    return json.dumps(group, indent=2).encode()
