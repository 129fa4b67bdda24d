"""Bytes of a shard: the same as the ecosystem's own writers, and nothing taken that is not as expected."""

import io
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import zarr
from crc32c import crc32c

from storage import TrajectorySpec, store_uri
from storage.errors import UnknownLayoutError
from storage.layouts.table import layout_of
from storage.testing.oracles import KINDS, spec_of_kind
from storage.testing.trajectories import fill, make_spec, shard_states


def encoded(spec: TrajectorySpec, shard: int) -> list[bytes]:
    """The objects of a shard of the pretend teacher."""
    stored = {t: values.astype(spec.dtype) for t, values in shard_states(spec, shard).items()}
    return list(layout_of(spec).encode(spec, shard, stored))


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [range(8), range(1, 7), range(3, 4), range(4, 8)])
def test_states_lie_where_the_layout_says(kind: str, rows: range) -> None:
    spec = spec_of_kind(kind)
    stored = {t: spec.encoding(t).encode(spec.encoding(t).reduced(v)) for t, v in shard_states(spec, 5).items()}
    layout = layout_of(spec)
    objects = list(layout.encode(spec, 5, stored))
    assert tuple(map(len, objects)) == layout.object_bytes(spec)
    for t in spec.stored_timesteps:
        seen = list[int]()
        for extent in layout.extents(spec, [t], rows):
            states = extent.view(objects[extent.position], spec.encoding(t))
            np.testing.assert_array_equal(states, stored[t][extent.rows.start : extent.rows.stop])
            seen += extent.rows
        assert sorted(seen) == list(rows)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if spec_of_kind(kind).layout == "zarr"])
def test_a_zarr_shard_is_what_zarr_writes(tmp_path: Path, kind: str) -> None:
    spec = spec_of_kind(kind)
    fill(str(tmp_path / "ours"), spec, 2 * spec.shard_samples)
    ours, theirs = Path(store_uri(str(tmp_path / "ours"), spec)), tmp_path / "theirs"
    for key in [Path("zarr.json"), *(Path(f"t{t:04d}", "zarr.json") for t in spec.stored_timesteps)]:
        (theirs / key).parent.mkdir(exist_ok=True)
        (theirs / key).write_bytes((ours / key).read_bytes())
    group, read = zarr.open_group(str(theirs), mode="r+"), zarr.open_group(str(ours), mode="r")
    for name, array in read.arrays():
        cast(zarr.Array[Any], group[name])[:] = array[:]
    data = [path for path in theirs.rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert len(data) == 2 * len(spec.stored_timesteps)
    for path in data:
        assert path.read_bytes() == (ours / path.relative_to(theirs)).read_bytes()


def test_the_metadata_is_what_zarr_consolidates(tmp_path: Path) -> None:
    spec = make_spec()
    for key, data in layout_of(spec).metadata(spec, 12).items():
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(data)
    ours = json.loads((tmp_path / "zarr.json").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is not in the specification yet
        zarr.consolidate_metadata(str(tmp_path))
    assert json.loads((tmp_path / "zarr.json").read_bytes()) == ours


def test_a_layout_that_nobody_provides_is_refused() -> None:
    spec = make_spec(layout="hdf5")
    with pytest.raises(UnknownLayoutError, match=r"one of \['webdataset', 'zarr'\], got 'hdf5'.*advkd.layouts"):
        layout_of(spec)


def test_storage_imports_no_torch_and_no_prefect() -> None:
    code = (
        "import sys, storage; print([m for m in ('torch', 'diffusers', 'prefect', 'webdataset') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
