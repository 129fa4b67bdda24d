"""WebDataset: `shards/shard-000012.tar`, readable by plain `webdataset.WebDataset(urls).decode()`.

Per sample, key `%012d`: `json` (`{"index": i}`), then one `t0999.npy` per stored timestep. Members are those of
`webdataset.TarWriter(mtime=0, user="", group="")`, byte for byte (a test compares).
Why the writer is ours: importing webdataset imports torch, which this package must not need.
Beside each tar lies `shard-000012.idx.json`, sample key -> [offset, size, crc32c], so that one trajectory is one ranged
read for people's own tools. Every member of a timestep has the same size, so states lie at the same
places in every tar.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from crc32c import crc32c

from storage.layouts.protocols import Extent, States
from storage.records import TrajectorySpec

_BLOCK = tarfile.BLOCKSIZE
_JSON = "json"
_TAR = 0
_CHECKSUM_DIGITS = 10


class WebDatasetLayout:
    """The layout with one tar and its index per shard."""

    def templates(self, spec: TrajectorySpec) -> tuple[str, ...]:
        """Returns the keys of the tar and of its index."""
        return ("shards/shard-{shard:06d}.tar", "shards/shard-{shard:06d}.idx.json")

    def object_bytes(self, spec: TrajectorySpec) -> tuple[int, ...]:
        """Returns the sizes, which are constant because sample numbers have twelve digits."""
        members = _Members(spec)
        return members.tar_bytes, members.index_bytes

    def encode(self, spec: TrajectorySpec, shard: int, stored: States) -> Iterator[bytes]:
        """Yields the tar, with members in the order of their names and owner, group and time 0, then the index."""
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
        yield tar.getvalue()
        yield "".join(_index_lines(members, shard, checksums)).encode()

    def extents(self, spec: TrajectorySpec, timesteps: Sequence[int], rows: range) -> Iterator[Extent]:
        """Yields one extent per timestep: the numbers behind the npy header, with the stride of a sample."""
        members = _Members(spec)
        for t in timesteps:
            start = members.starts[t] + _BLOCK + len(members.headers[t])
            yield Extent(_TAR, t, rows, rows.start * members.sample_bytes + start, members.sample_bytes)

    def metadata(self, spec: TrajectorySpec, num_samples: int) -> dict[str, bytes]:
        """Returns nothing, because a tar needs no other objects."""
        return {}


class _Members:
    """The places of all members in the tar of a shard.

    Attributes:
        timesteps: stored timesteps in the order of their members.
        headers: npy header of each timestep's member.
        starts: where each timestep's member starts within a sample.
        sample_bytes: bytes of a sample.
    """

    # Not functools.cached_property: in Python 3.11 it holds one lock for all instances of the class.
    def __init__(self, spec: TrajectorySpec) -> None:
        self.spec = spec
        self.timesteps = sorted(spec.stored_timesteps, key=_extension)
        self.headers = {t: _npy_header(spec.encoding(t).stored_dtype, spec.encoding(t).shape) for t in self.timesteps}
        self.starts, offset = dict[int, int](), 2 * _BLOCK  # The json member is a block of header and one of text.
        for t in self.timesteps:
            self.starts[t] = offset
            offset += _BLOCK + _padded(len(self.headers[t]) + spec.encoding(t).state_bytes, _BLOCK)
        self.sample_bytes = offset

    @property
    def index_bytes(self) -> int:
        """Size of an index: its lines differ only by the digits of their offsets, of which the first is "0"."""
        rows, size = self.spec.shard_samples, self.sample_bytes
        further_digits = sum(max(0, rows - _units(10**power, size)) for power in range(1, len(str(rows * size))))
        return rows * len(next(_index_lines(self, 0, [0]))) + further_digits + len("\n}\n")

    @property
    def tar_bytes(self) -> int:
        return _padded(self.spec.shard_samples * self.sample_bytes + 2 * _BLOCK, tarfile.RECORDSIZE)


def _index_lines(members: _Members, shard: int, checksums: Sequence[int]) -> Iterator[str]:
    """Yields the lines of an index; checksums are padded, so the size of an index is constant."""
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
