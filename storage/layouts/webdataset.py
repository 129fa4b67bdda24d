"""WebDataset: `shards/shard-000012.tar`, readable by plain `webdataset.WebDataset(urls).decode()`.

Per sample, key `%012d`: `json` (`{"index": i}`), then one `t0999.npy` per stored timestep. Members are those of
`webdataset.TarWriter(mtime=0, user="", group="")`, byte for byte (a test compares).
Why the writer is ours: importing webdataset imports torch, which this package must not need.
Beside each tar lies `shard-000012.idx.json`, sample key -> [offset, size, crc32c], so that one trajectory is one ranged
read that can be checked. Every member of a timestep has the same size, so a shard is decoded by strides.
"""

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from storage.layouts.protocols import Checksums, Fetch, FetchPieces, Place, States
from storage.records import TrajectorySpec

_BLOCK = tarfile.BLOCKSIZE
_JSON = "json"
_TAR, _INDEX = 0, 1
_CHECKSUM_DIGITS = 10
_SIZE_FIELD, _CHECKSUM_FIELD = slice(124, 136), slice(148, 156)
"""Of a tar's header (POSIX.1-1988 ustar)."""


class WebDatasetLayout:
    """One tar and its index per shard."""

    def templates(self, spec: TrajectorySpec) -> tuple[str, ...]:
        """The tar, then its index."""
        return ("shards/shard-{shard:06d}.tar", "shards/shard-{shard:06d}.idx.json")

    def object_bytes(self, spec: TrajectorySpec) -> tuple[int, ...]:
        """The same in every shard: sample numbers have twelve digits."""
        members = _Members(spec)
        return members.tar_bytes, members.index_bytes

    def encode(self, spec: TrajectorySpec, shard: int, stored: States) -> list[bytes]:
        """Members in the order of their names, owner, group and time zero."""
        members, first = _Members(spec), shard * spec.shard_samples
        tar, checksums = io.BytesIO(), []
        for row in range(spec.shard_samples):
            key = _sample_key(first + row)
            sample = [_member(f"{key}.{_JSON}", _json_text(first + row))]
            for t in members.timesteps:
                sample.append(_member(f"{key}.{_extension(t)}", members.headers[t] + stored[t][row].tobytes()))
            data = b"".join(sample)
            checksums.append(crc32c(data))
            tar.write(data)
        tar.write(bytes(members.tar_bytes - tar.tell()))
        return [tar.getvalue(), _dump_index(members, shard, checksums)]

    def chunk_crc32c(self, spec: TrajectorySpec, objects: Sequence[bytes]) -> list[tuple[int, ...]]:
        """None: those of the samples are in the index beside the tar."""
        return [() for _ in objects]

    def read(self, spec: TrajectorySpec, shard: int, timesteps: Sequence[int], fetch: Fetch, place: Place) -> None:
        """Names, headers and sizes are compared with those that the spec demands before any state is taken."""
        members, buffers = _Members(spec), list[npt.NDArray[np.uint8]]()

        def parts() -> list[memoryview]:
            buffers.append(np.empty(members.tar_bytes, dtype=np.uint8))
            return [buffers[-1].data]

        fetch(_TAR, members.tar_bytes, parts)
        end = spec.shard_samples * members.sample_bytes
        if buffers[-1][end:].any():
            raise ValueError(f"a tar must hold {spec.shard_samples} samples and nothing after them")
        rows = buffers[-1][:end].reshape(-1, members.sample_bytes)
        members.check(rows, range(shard * spec.shard_samples, (shard + 1) * spec.shard_samples), timesteps)
        for t in timesteps:
            place(t).reshape(len(rows), -1).view(np.uint8)[:] = members.payload(rows, t)

    def checksums(self, spec: TrajectorySpec, shard: int, fetch: Fetch, recorded: Callable[[], Checksums]) -> Checksums:
        """Of the samples of the tar, out of its index."""
        return self._read_index(_Members(spec), shard, fetch), ()

    def read_rows(
        self,
        spec: TrajectorySpec,
        shard: int,
        rows: Sequence[int],
        timesteps: Sequence[int],
        fetch_pieces: FetchPieces,
        checksums: Checksums,
    ) -> States:
        """A sample is one piece of the tar, with all of its timesteps."""
        members, first = _Members(spec), shard * spec.shard_samples
        pieces, expected = fetch_pieces(_TAR, members.sample_bytes, set(rows)), checksums[_TAR]
        for row in set(rows):
            if crc32c(pieces[row]) != expected[row]:
                raise ValueError(f"sample {first + row} of a tar must agree with the crc32c in its index")
        found = np.stack([np.frombuffer(pieces[row], dtype=np.uint8) for row in rows])
        members.check(found, [first + row for row in rows], timesteps)
        states: States = {}
        for t in timesteps:
            encoding = spec.encoding(t)
            flat = np.ascontiguousarray(members.payload(found, t))
            states[t] = flat.view(encoding.stored_dtype).reshape(len(rows), *encoding.shape)
        return states

    def metadata(self, spec: TrajectorySpec, num_samples: int) -> dict[str, bytes]:
        """A tar needs nothing beside it."""
        return {}

    def _read_index(self, members: "_Members", shard: int, fetch: Fetch) -> list[int]:
        data = bytearray()

        def parts() -> list[memoryview]:
            data[:] = bytes(members.index_bytes)
            return [memoryview(data)]

        fetch(_INDEX, members.index_bytes, parts)
        # All is known but the checksums, ten digits at the end of every line but the first and the last two.
        digits = [line.rstrip(b"],")[-_CHECKSUM_DIGITS:] for line in data.split(b"\n")[1:-2]]
        checksums = [int(one) if one.strip().isdigit() else -1 for one in digits]
        if len(checksums) != members.spec.shard_samples or _dump_index(members, shard, checksums) != data:
            raise ValueError("the index of a tar must list its samples in order, at the places that the spec demands")
        return checksums


@dataclass(frozen=True)
class _Members:
    """Where everything lies in the tar of a shard of a spec."""

    spec: TrajectorySpec

    @cached_property
    def timesteps(self) -> list[int]:
        return sorted(self.spec.stored_timesteps, key=_extension)

    @cached_property
    def headers(self) -> dict[int, bytes]:
        return {t: _npy_header(self.spec.encoding(t).stored_dtype, self.spec.encoding(t).shape) for t in self.timesteps}

    @cached_property
    def starts(self) -> dict[int, int]:
        """Where a timestep's member starts within a sample; the json member is a block of header and one of text."""
        starts, offset = {}, 2 * _BLOCK
        for t in self.timesteps:
            starts[t] = offset
            offset += _BLOCK + _padded(self._size(t), _BLOCK)
        starts[-1] = offset
        return starts

    @property
    def sample_bytes(self) -> int:
        return self.starts[-1]

    @property
    def index_bytes(self) -> int:
        """Of an index: its lines differ by the digits of their offsets alone, the first one's being "0"."""
        rows, size = self.spec.shard_samples, self.sample_bytes
        further_digits = sum(max(0, rows - _units(10**power, size)) for power in range(1, len(str(rows * size))))
        return rows * len(next(_index_lines(self, 0, [0]))) + further_digits + len("\n}\n")

    @property
    def tar_bytes(self) -> int:
        return _padded(self.spec.shard_samples * self.sample_bytes + 2 * _BLOCK, tarfile.RECORDSIZE)

    def payload(self, rows: npt.NDArray[np.uint8], timestep: int) -> npt.NDArray[np.uint8]:
        """The states' bytes of rows `[n, sample_bytes]`."""
        start = self.starts[timestep] + _BLOCK + len(self.headers[timestep])
        return rows[:, start : start + self.spec.encoding(timestep).state_bytes]

    def _size(self, timestep: int) -> int:
        return len(self.headers[timestep]) + self.spec.encoding(timestep).state_bytes

    def check(self, rows: npt.NDArray[np.uint8], samples: Sequence[int], timesteps: Sequence[int]) -> None:
        """`ValueError` unless rows `[n, sample_bytes]` are these samples with the spec's members at these timesteps."""
        texts = [_json_text(sample) for sample in samples]
        _check_headers(rows[:, :_BLOCK], samples, _JSON, [len(text) for text in texts])
        if rows[:, _BLOCK : 2 * _BLOCK].tobytes() != b"".join(text.ljust(_BLOCK, b"\0") for text in texts):
            raise ValueError("every json of a tar must hold the number of its sample, and one does not")
        for t in timesteps:
            start, header = self.starts[t], np.frombuffer(self.headers[t], dtype=np.uint8)
            _check_headers(rows[:, start : start + _BLOCK], samples, _extension(t), [self._size(t)] * len(rows))
            if (rows[:, start + _BLOCK : start + _BLOCK + len(header)] != header).any():
                encoding = self.spec.encoding(t)
                raise ValueError(
                    f"every {_extension(t)} must hold {encoding.stored_dtype} {list(encoding.shape)}, and one has "
                    "another npy header"
                )


def _check_headers(
    headers: npt.NDArray[np.uint8], samples: Sequence[int], extension: str, sizes: Sequence[int]
) -> None:
    """`ValueError` unless tar headers `[n, 512]` are those of plain files with these names and sizes, in this order."""
    names = [f"{_sample_key(sample)}.{extension}" for sample in samples]
    width = len(names[0]) + 1
    wrong = (headers[:, :width] != _rows_of("\0".join([*names, ""]).encode(), width)).any(axis=1)
    if wrong.any():
        raise ValueError(f"a member of a tar must be named {names[int(np.argmax(wrong))]}, and is not")
    octal = _rows_of(b"".join(b"%011o\0" % size for size in sizes), _SIZE_FIELD.stop - _SIZE_FIELD.start)
    other = headers != np.frombuffer(_member_header(names[0], 0), dtype=np.uint8)
    other[:, _SIZE_FIELD] = headers[:, _SIZE_FIELD] != octal
    # The checksum, over all of the header, says nothing of its own.
    other[:, :width] = other[:, _CHECKSUM_FIELD] = False
    if other.any():
        raise ValueError(f"every {extension} of a tar must be a plain file of the spec's size, and one is not")


def _rows_of(data: bytes, width: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, width)


def _dump_index(members: _Members, shard: int, checksums: Sequence[int]) -> bytes:
    return "".join(_index_lines(members, shard, checksums)).encode()


def _index_lines(members: _Members, shard: int, checksums: Sequence[int]) -> Iterator[str]:
    """Checksums are padded, so that an index has the same size whatever they are."""
    first, size = shard * members.spec.shard_samples, members.sample_bytes
    for row, checksum in enumerate(checksums):
        padded = str(checksum).rjust(_CHECKSUM_DIGITS)
        yield f'{"," if row else "{"}\n"{_sample_key(first + row)}": [{row * size}, {size}, {padded}]'
    yield "\n}\n"


def _sample_key(sample: int) -> str:
    return f"{sample:012d}"


def _json_text(sample: int) -> bytes:
    return b'{"index": %d}' % sample


def _extension(timestep: int) -> str:
    return f"t{timestep:04d}.npy"


@lru_cache(maxsize=64)
def _npy_header(dtype: str, shape: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    description: dict[str, Any] = {
        "descr": np.dtype(dtype).newbyteorder("<").str,
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def _member(name: str, payload: bytes) -> bytes:
    return _member_header(name, len(payload)) + payload + bytes(-len(payload) % _BLOCK)


def _member_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o444
    return info.tobuf(tarfile.USTAR_FORMAT)


def _padded(size: int, unit: int) -> int:
    return _units(size, unit) * unit


def _units(size: int, unit: int) -> int:
    return -(-size // unit)
