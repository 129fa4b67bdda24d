"""Repair recomputes exactly what is damaged, and the bytes are those from before."""

from pathlib import Path

import pytest

from advkd.precompute import PrecomputeSpec, precompute
from advkd.repair import repair
from storage import SpecMismatchError, verify


@pytest.fixture(params=["zarr", "webdataset"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    spec = PrecomputeSpec(
        teacher="mixture", store=str(tmp_path), samples=24, shard_samples=8, block_samples=8, format=request.param
    )
    return precompute(spec).uri


def contents(store: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(store, "shards").rglob("*") if path.is_file()}


def test_only_the_damaged_shard_is_written_again_and_the_bytes_are_the_same(store: str) -> None:
    before = contents(store)
    victim = next(path for path in sorted(before) if "1/0/0/0" in path or path.endswith("000001.tar"))
    damaged = bytearray(before[victim])
    damaged[len(damaged) // 2] ^= 0xFF
    Path(victim).write_bytes(damaged)
    others = {path: Path(path).stat().st_mtime_ns for path in before if "1/0/0/0" not in path and "000001" not in path}

    result = repair(store)

    assert result.shards == (1,)
    assert contents(store) == before
    assert verify(store) == []
    assert {path: Path(path).stat().st_mtime_ns for path in others} == others


def test_a_good_store_is_left_alone(store: str) -> None:
    manifest = Path(store, "manifest.json")
    before = manifest.stat().st_mtime_ns
    assert repair(store).shards == ()
    assert manifest.stat().st_mtime_ns == before


def test_another_teacher_is_refused(store: str) -> None:
    victim = next(path for path in contents(store) if path.endswith((".tar", "0/0/0/0")))
    Path(victim).unlink()
    with pytest.raises(SpecMismatchError, match="fingerprint"):
        repair(store, teacher="digits")
    assert verify(store) != []
