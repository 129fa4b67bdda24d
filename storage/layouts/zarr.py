"""Zarr v3: one array per captured timestep, `shards/t0999`, shape `[N, C, H, W]`; plain `zarr` reads it.

One shard object holds the `S` samples of one task, in chunks of `block_samples`, with crc32c and no compression (fp16
noise: zstd saves 8 % and reads 2.8x slower). Zarr encodes in memory and the objects are put and checked by us, so that
Zarr's silent fill values never reach anyone. Without compression every shard object of a timestep has the same size
and the same index of chunks, at its end: an object with any other is refused, and the chunks are taken as they lie.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from crc32c import crc32c
from zarr.abc.buffer import Buffer
from zarr.codecs import Crc32cCodec
from zarr.storage import MemoryStore

from storage.layouts.protocols import Checksums, Fetch, FetchPieces, Place, States
from storage.records import StateEncoding, TrajectorySpec, digest

_SHARDS = "shards"
_ONLY_SHARD = "c/0/0/0/0"
_CHECKSUM_BYTES = 4
_INDEX_ENTRY_BYTES = 16


class ZarrLayout:
    """Key `shards/t0999/c/<shard>/0/0/0`, one object per stored timestep."""

    def templates(self, spec: TrajectorySpec) -> tuple[str, ...]:
        """One object per stored timestep."""
        return tuple(f"{_array_key(t)}/c/{{shard}}/0/0/0" for t in spec.stored_timesteps)

    def encode(self, spec: TrajectorySpec, shard: int, stored: States) -> list[bytes]:
        """The bytes do not depend on the shard's number: each is the only shard of an array in memory."""
        return [
            _encode_shard(spec.encoding(t), spec.shard_samples, spec.block_samples, stored[t])
            for t in spec.stored_timesteps
        ]

    def chunk_crc32c(self, spec: TrajectorySpec, objects: Sequence[bytes]) -> list[tuple[int, ...]]:
        """What Zarr's codec wrote behind every chunk."""
        chunks = spec.shard_samples // spec.block_samples
        return [
            tuple(
                int.from_bytes(data[end - _CHECKSUM_BYTES : end], "little")
                for number in range(chunks)
                if (end := (number + 1) * (spec.block_samples * spec.encoding(t).state_bytes + _CHECKSUM_BYTES))
            )
            for t, data in zip(spec.stored_timesteps, objects, strict=True)
        ]

    def read(self, spec: TrajectorySpec, shard: int, timesteps: Sequence[int], fetch: Fetch, place: Place) -> None:
        """Only the objects of the timesteps asked for are read, each chunk straight to its place."""
        for t in timesteps:
            _read_timestep(spec, t, fetch, place)

    def checksums(self, spec: TrajectorySpec, shard: int, fetch: Fetch, recorded: Callable[[], Checksums]) -> Checksums:
        """Those of the record."""
        return recorded()

    def read_rows(
        self,
        spec: TrajectorySpec,
        shard: int,
        rows: Sequence[int],
        timesteps: Sequence[int],
        fetch_pieces: FetchPieces,
        checksums: Checksums,
    ) -> States:
        """The chunks that hold a row; the index is not needed, as all chunks have one size."""
        block = spec.block_samples
        states: States = {}
        for t in timesteps:
            encoding, position = spec.encoding(t), spec.stored_timesteps.index(t)
            size = block * encoding.state_bytes + _CHECKSUM_BYTES
            expected = checksums[position]
            if len(expected) != spec.shard_samples // block:
                raise ValueError(f"a shard's record must hold the crc32c of each of its chunks, got {len(expected)}")
            read: dict[int, npt.NDArray[Any]] = {}
            for number, data in fetch_pieces(position, size, {row // block for row in rows}).items():
                chunk = memoryview(data)[:-_CHECKSUM_BYTES]
                _check_chunk(number, chunk, expected[number])
                values = np.frombuffer(chunk, dtype=encoding.stored_dtype)
                read[number] = values.reshape(block, *encoding.shape)
            states[t] = np.stack([read[row // block][row % block] for row in rows])
        return states

    def object_bytes(self, spec: TrajectorySpec) -> tuple[int, ...]:
        """Chunks with a checksum each, and the index with one."""
        return tuple(_object_bytes(spec, t) for t in spec.stored_timesteps)

    def metadata(self, spec: TrajectorySpec, num_samples: int) -> dict[str, bytes]:
        """The `zarr.json` of groups and arrays, arrays as long as the store shows samples."""
        contents: dict[str, Buffer] = {}
        store = MemoryStore(contents)
        attributes = {"advkd": {"digest": digest(spec), "timesteps": list(spec.timesteps)}}
        zarr.create_group(store=store, attributes=attributes).create_group(_SHARDS)
        for t in spec.stored_timesteps:
            _create_array(spec.encoding(t), spec.shard_samples, spec.block_samples, store, _array_key(t), num_samples)
        return {key: value.to_bytes() for key, value in sorted(contents.items())}


def _array_key(timestep: int) -> str:
    return f"{_SHARDS}/t{timestep:04d}"


def _create_array(
    encoding: StateEncoding, shard_samples: int, block_samples: int, store: MemoryStore, name: str | None, length: int
) -> zarr.Array[Any]:
    codes = encoding.uint8_range
    return zarr.create_array(
        store=store,
        name=name,
        shape=(length, *encoding.shape),
        shards=(shard_samples, *encoding.shape),
        chunks=(block_samples, *encoding.shape),
        dtype=encoding.stored_dtype,
        filters=None,
        compressors=[Crc32cCodec()],
        fill_value=float("nan") if codes is None else 0,
        attributes={} if codes is None else {"scale_factor": (codes[1] - codes[0]) / 255, "add_offset": codes[0]},
        dimension_names=["sample", "channel", "height", "width"],
        config={"write_empty_chunks": True},
    )


def _encode_shard(encoding: StateEncoding, shard_samples: int, block_samples: int, stored: npt.NDArray[Any]) -> bytes:
    contents: dict[str, Buffer] = {}
    store = MemoryStore(contents)
    _create_array(encoding, shard_samples, block_samples, store, None, shard_samples)[:] = stored
    return contents[_ONLY_SHARD].to_bytes()


def _read_timestep(spec: TrajectorySpec, timestep: int, fetch: Fetch, place: Place) -> None:
    chunks = spec.shard_samples // spec.block_samples
    size = spec.block_samples * spec.encoding(timestep).state_bytes
    taken: list[memoryview] = []

    def parts() -> list[memoryview]:
        states = place(timestep).reshape(-1).view(np.uint8).data
        checksums, index = memoryview(bytearray(chunks * _CHECKSUM_BYTES)), memoryview(bytearray(_index_bytes(chunks)))
        taken.clear()
        for number in range(chunks):
            taken.append(states[number * size : (number + 1) * size])
            taken.append(checksums[number * _CHECKSUM_BYTES : (number + 1) * _CHECKSUM_BYTES])
        taken.append(index)
        return taken

    fetch(spec.stored_timesteps.index(timestep), _object_bytes(spec, timestep), parts)
    if taken[-1] != _chunk_index(chunks, size + _CHECKSUM_BYTES):
        raise ValueError("a shard's index must name its chunks in order and without gaps")


def _object_bytes(spec: TrajectorySpec, timestep: int) -> int:
    chunks = spec.shard_samples // spec.block_samples
    return spec.shard_samples * spec.encoding(timestep).state_bytes + chunks * _CHECKSUM_BYTES + _index_bytes(chunks)


def _index_bytes(chunks: int) -> int:
    return chunks * _INDEX_ENTRY_BYTES + _CHECKSUM_BYTES


def _check_chunk(number: int, chunk: bytes | memoryview, checksum: int) -> None:
    if crc32c(chunk) != checksum:
        raise ValueError(f"chunk {number} of a shard must agree with its crc32c, and does not")


@lru_cache(maxsize=64)
def _chunk_index(chunks: int, chunk_bytes: int) -> bytes:
    """Offset and size of each chunk, and a crc32c: what Zarr writes for chunks of one size (sharding codec, v1.0)."""
    entries = np.array([(number * chunk_bytes, chunk_bytes) for number in range(chunks)], dtype="<u8").tobytes()
    return entries + crc32c(entries).to_bytes(_CHECKSUM_BYTES, "little")
