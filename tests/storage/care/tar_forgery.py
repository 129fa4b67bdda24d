"""Tars that are not what their store says, each as large as the good one, for somebody with the right to write.

The tools here are the standard library's, so that a forged tar is one that others can open.
"""

import copy
import io
import pickle
import re
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np
from crc32c import crc32c

FORGED_SAMPLE = 11
"""Of shard 1, which has the samples 8 to 15: the one whose members are forged."""

_NAME = f"{FORGED_SAMPLE:012d}.t0500.npy"


def replaced(tar: bytes, of: str = _NAME, payload: bytes | None = None, **header: Any) -> bytes:
    """A tar of which one member has another header or payload; sizes and checksums are made to fit."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        member = archive.getmember(of)
    room = -(-member.size // 512) * 512
    content = tar[member.offset_data : member.offset_data + room]
    if payload is not None:
        assert len(payload) <= room
        content = payload + bytes(room - len(payload))
    forged = copy.copy(member)
    for field, value in header.items():
        setattr(forged, field, value)
    block = forged.tobuf(tarfile.USTAR_FORMAT)
    return tar[: member.offset] + block + content + tar[member.offset_data + room :]


def moved(tar: bytes, order: list[int]) -> bytes:
    """The samples of a tar in another order, or some of them twice."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        starts = [member.offset for member in archive.getmembers() if member.name.endswith(".json")]
    size = starts[1]
    return b"".join(tar[starts[i] : starts[i] + size] for i in order) + tar[len(order) * size :]


def exchanged(tar: bytes) -> bytes:
    """Two timesteps of one sample, each under the other's place."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        one, other = (archive.getmember(f"{FORGED_SAMPLE:012d}.t{t}.npy") for t in ("0500", "0999"))
    size = other.offset - one.offset
    first, second = tar[one.offset : one.offset + size], tar[other.offset : other.offset + size]
    return tar[: one.offset] + second + first + tar[other.offset + size :]


def extended(tar: bytes) -> bytes:
    """One more member, in the room that is left at the end."""
    info = tarfile.TarInfo("../evil.npy")
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        last = archive.getmembers()[-1]
    end = last.offset_data + -(-last.size // 512) * 512
    return tar[:end] + info.tobuf(tarfile.USTAR_FORMAT) + tar[end + 512 :]


def npy(changes: dict[str, Any] | None = None, *, version: int = 1) -> bytes:
    """A `.npy` whose header says anything, with a good state's bytes behind it."""
    file = io.BytesIO()
    write = {1: np.lib.format.write_array_header_1_0, 2: np.lib.format.write_array_header_2_0}[version]
    write(file, {"descr": "<f2", "fortran_order": False, "shape": (2, 4, 4)} | (changes or {}))
    return file.getvalue() + bytes(64)


def pickled_npy() -> bytes:
    """A `.npy` that runs a command when it is loaded with pickles allowed."""
    file = io.BytesIO()
    np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)
    return file.getvalue()


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('a pickle of a store was loaded')",)


FORGED_TARS: dict[str, Callable[[bytes], bytes]] = {
    "a name that climbs": lambda tar: replaced(tar, name="../000000011.t0500.npy"),
    "an absolute name": lambda tar: replaced(tar, name="/etc/cron.d/x"),
    "the name of another sample": lambda tar: replaced(tar, name="000000000012.t0500.npy"),
    "the name of another timestep": lambda tar: replaced(tar, name=f"{FORGED_SAMPLE:012d}.t0999.npy"),
    "a json that climbs": lambda tar: replaced(tar, f"{FORGED_SAMPLE:012d}.json", name="../../x.json"),
    "a json of another sample": lambda tar: replaced(tar, f"{FORGED_SAMPLE:012d}.json", b'{"index": 12}'),
    "a json that is huge": lambda tar: replaced(tar, f"{FORGED_SAMPLE:012d}.json", size=8 * 2**30 - 1),
    "a symbolic link": lambda tar: replaced(tar, type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0),
    "a hard link": lambda tar: replaced(tar, type=tarfile.LNKTYPE, linkname="/etc/passwd", size=0),
    "a device": lambda tar: replaced(tar, type=tarfile.CHRTYPE, size=0),
    "a folder": lambda tar: replaced(tar, type=tarfile.DIRTYPE, size=0),
    "a size far beyond the tar": lambda tar: replaced(tar, size=8 * 2**30 - 1),
    "a size that is too small": lambda tar: replaced(tar, size=1),
    "an object dtype": lambda tar: replaced(tar, payload=npy({"descr": "|O"})),
    "a pickled array": lambda tar: replaced(tar, payload=pickled_npy()),
    "a bare pickle": lambda tar: replaced(tar, payload=pickle.dumps(Bomb())),
    "another dtype": lambda tar: replaced(tar, payload=npy({"descr": "<i2"})),
    "a wider dtype": lambda tar: replaced(tar, payload=npy({"descr": "<f4", "shape": (2, 2, 4)})),
    "another byte order": lambda tar: replaced(tar, payload=npy({"descr": ">f2"})),
    "another order of axes": lambda tar: replaced(tar, payload=npy({"fortran_order": True})),
    "a shape far beyond the tar": lambda tar: replaced(tar, payload=npy({"shape": (2**20, 2**20, 2**20)})),
    "a negative shape": lambda tar: replaced(tar, payload=npy({"shape": (-2, -4, 4)})),
    "another npy version": lambda tar: replaced(tar, payload=npy(version=2)),
    "an npy header far beyond the tar": lambda tar: replaced(
        tar, payload=b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(180)
    ),
    "two samples the other way round": lambda tar: moved(tar, [0, 1, 2, 4, 3, 5, 6, 7]),
    "one sample twice": lambda tar: moved(tar, [0, 1, 2, 2, 4, 5, 6, 7]),
    "two timesteps the other way round": exchanged,
    "nothing but zeros": lambda tar: bytes(len(tar)),
    "no tar at all": lambda tar: (b"\x1f\x8b\x08\x00" * len(tar))[: len(tar)],
}
"""Forgeries of sample 11 by name; all keep the size of the tar."""


def with_checksums(index: bytes, tar: bytes) -> bytes:
    """The index of a tar with the crc32c of the samples as they are now."""

    def line(found: "re.Match[str]") -> str:
        offset, size = int(found.group(2)), int(found.group(3))
        return f"{found.group(1)}[{offset}, {size}, {crc32c(tar[offset : offset + size]):10d}]"

    return re.sub(r'("\d+": )\[(\d+), (\d+), +\d+\]', line, index.decode()).encode()
