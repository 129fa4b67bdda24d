"""WebDataset: `shards/shard-000012.tar`, readable by plain `webdataset.WebDataset(urls).decode()`.

Per sample, key `%012d`: `json` (`{"index": i}`), then one `t0999.npy` per captured timestep. Members are those of
`webdataset.TarWriter(mtime=0, user="", group="")`, byte for byte (a test compares), but written here: importing
webdataset imports torch. Beside each tar lies `shard-000012.idx.json`, sample key -> [offset, size], so that one
trajectory is one ranged read. Every member of a timestep has the same size, so a shard is decoded by strides.
"""

import io
import json
import tarfile
from collections.abc import Callable, Sequence

import numpy as np

from storage.base import States
from storage.spec import TrajectorySpec

_BLOCK = tarfile.BLOCKSIZE
_JSON = "json"
_TAR, _INDEX = 0, 1


class WebDatasetLayout:
    """One tar and its index per shard."""

    def templates(self, spec: TrajectorySpec) -> tuple[str, ...]:
        """The tar, then its index."""
        return ("shards/shard-{shard:06d}.tar", "shards/shard-{shard:06d}.idx.json")

    def encode(self, spec: TrajectorySpec, shard: int, states: States) -> list[bytes]:
        """Members in the order of their names, owner, group and time zero."""
        header = _npy_header(spec)
        tar = io.BytesIO()
        index: dict[str, list[int]] = {}
        for row in range(spec.shard_samples):
            sample = shard * spec.shard_samples + row
            key = _sample_key(sample)
            offset = tar.tell()
            tar.write(_member(f"{key}.{_JSON}", json.dumps({"index": sample}).encode()))
            for t in sorted(spec.timesteps, key=_extension):
                tar.write(_member(f"{key}.{_extension(t)}", header + states[t][row].tobytes()))
            index[key] = [offset, tar.tell() - offset]
        tar.write(bytes(_tar_size(spec) - tar.tell()))
        return [tar.getvalue(), json.dumps(index, separators=(",", ":")).encode()]

    def decode(
        self, spec: TrajectorySpec, shard: int, timesteps: Sequence[int], fetch: Callable[[int], bytes]
    ) -> States:
        """Names, headers and sizes are compared with those that the spec demands before any state is taken."""
        data = fetch(_TAR)
        if len(data) != _tar_size(spec):
            raise ValueError(f"the tar of a whole shard holds {_tar_size(spec)} bytes, got {len(data)}")
        header = _npy_header(spec)
        order = sorted(spec.timesteps, key=_extension)
        rows = np.frombuffer(data, dtype=np.uint8, count=spec.shard_samples * _sample_size(spec))
        rows = rows.reshape(spec.shard_samples, _sample_size(spec))
        states: States = {}
        for t in timesteps:
            start = 2 * _BLOCK + order.index(t) * _npy_member_size(spec)
            _check_names(data, spec, shard, t, start)
            payload = rows[:, start + _BLOCK : start + _BLOCK + len(header) + spec.state_bytes]
            if not (payload[:, : len(header)] == np.frombuffer(header, dtype=np.uint8)).all():
                raise ValueError(f"every {_extension(t)} must hold {spec.dtype} {list(spec.sample_shape)}")
            flat = np.ascontiguousarray(payload[:, len(header) :]).view(_stored_dtype(spec))
            states[t] = flat.reshape(spec.shard_samples, *spec.sample_shape)
        return states

    def metadata(self, spec: TrajectorySpec, num_samples: int) -> dict[str, bytes]:
        """A tar needs nothing beside it."""
        return {}


def _sample_key(sample: int) -> str:
    return f"{sample:012d}"


def _extension(timestep: int) -> str:
    return f"t{timestep:04d}.npy"


def _stored_dtype(spec: TrajectorySpec) -> np.dtype[np.floating]:
    return np.dtype(spec.dtype).newbyteorder("<")


def _npy_header(spec: TrajectorySpec) -> bytes:
    buffer = io.BytesIO()
    description = {"descr": _stored_dtype(spec).str, "fortran_order": False, "shape": spec.sample_shape}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def _member(name: str, payload: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(payload)
    info.mode = 0o444
    return info.tobuf(tarfile.USTAR_FORMAT) + payload + bytes(-len(payload) % _BLOCK)


def _npy_member_size(spec: TrajectorySpec) -> int:
    return _BLOCK + _padded(len(_npy_header(spec)) + spec.state_bytes, _BLOCK)


def _sample_size(spec: TrajectorySpec) -> int:
    # The json member is one block of header and one of text.
    return 2 * _BLOCK + len(spec.timesteps) * _npy_member_size(spec)


def _tar_size(spec: TrajectorySpec) -> int:
    return _padded(spec.shard_samples * _sample_size(spec) + 2 * _BLOCK, tarfile.RECORDSIZE)


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _check_names(data: bytes, spec: TrajectorySpec, shard: int, timestep: int, start: int) -> None:
    size = _sample_size(spec)
    for row in range(spec.shard_samples):
        name = f"{_sample_key(shard * spec.shard_samples + row)}.{_extension(timestep)}\0".encode()
        if not data.startswith(name, row * size + start):
            raise ValueError(f"member {row} of a shard's {_extension(timestep)} must be named {name[:-1].decode()}")
