"""Bytes of a shard: the same as the ecosystem's own writers, and nothing taken that is not as expected."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from crc32c import crc32c

from storage import States, TrajectorySpec
from storage.layouts.table import layout_of
from tests.storage.trajectories import make_spec, shard_states


def encoded(spec: TrajectorySpec, shard: int) -> list[bytes]:
    """The objects of a shard of the pretend teacher."""
    stored = {t: values.astype(spec.dtype) for t, values in shard_states(spec, shard).items()}
    return layout_of(spec).encode(spec, shard, stored)


def decoded(spec: TrajectorySpec, data: bytes) -> States:
    """What a layout takes from a shard, each of whose objects holds `data`."""
    states: States = {}

    def fetch(_: int, size: int, parts: Callable[[], Sequence[memoryview]]) -> None:
        if size != len(data):
            raise ValueError(f"holds {len(data)} bytes")
        offset = 0
        for part in parts():
            part[:] = data[offset : offset + len(part)]
            offset += len(part)

    def place(t: int) -> npt.NDArray[Any]:
        encoding = spec.encoding(t)
        states[t] = np.empty((spec.shard_samples, *encoding.shape), dtype=encoding.stored_dtype)
        return states[t]

    layout_of(spec).read(spec, 0, spec.timesteps, fetch, place)
    return states


def test_a_tar_is_what_webdataset_writes() -> None:
    import webdataset

    spec = make_spec(layout="webdataset")
    states, file = shard_states(spec, 3), io.BytesIO()
    with webdataset.TarWriter(file, mtime=0, user="", group="") as writer:
        for row in range(spec.shard_samples):
            arrays = {f"t{t:04d}.npy": states[t][row].astype(np.float16) for t in spec.timesteps}
            writer.write({"__key__": f"{24 + row:012d}", "json": {"index": 24 + row}} | arrays)
    assert encoded(spec, 3)[0] == file.getvalue()


def test_one_trajectory_is_one_range_of_the_tar() -> None:
    spec = make_spec(layout="webdataset")
    tar, index = encoded(spec, 2)
    offset, size, checksum = json.loads(index)["000000000021"]
    sample = tar[offset : offset + size]
    assert crc32c(sample) == checksum
    assert sample.startswith(b"000000000021.json\0")
    expected = shard_states(spec, 2)[999][5].astype(np.float16).tobytes()
    assert expected in sample


@pytest.mark.parametrize("what", ["name", "header", "size"])
def test_a_tar_with_other_members_is_not_decoded(what: str) -> None:
    spec = make_spec(layout="webdataset")
    tar = encoded(spec, 0)[0]
    changed = {
        "name": tar.replace(b"000000000003.t0500", b"../00000003b.t0500"),
        "header": tar.replace(b"'descr': '<f2'", b"'descr': '|O8'", 1),
        "size": tar[:-512],
    }[what]
    assert changed != tar
    with pytest.raises(ValueError, match=r"named|must hold|holds"):
        decoded(spec, changed)


def test_no_memory_is_taken_on_the_spec_s_word_alone() -> None:
    for layout in ("zarr", "webdataset"):
        huge = make_spec(layout=layout, sample_shape=(3, 2**15, 2**15), shard_samples=4096, block_samples=4096)
        with pytest.raises(ValueError, match=r"cannot lie|holds"):
            decoded(huge, b"few bytes")


def test_storage_imports_no_torch_and_no_prefect() -> None:
    code = (
        "import sys, storage; print([m for m in ('torch', 'diffusers', 'prefect', 'webdataset') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
