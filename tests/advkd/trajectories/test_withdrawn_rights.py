"""A bucket whose rights are withdrawn half-way, and given back: nothing is sealed meanwhile, and nothing is lost."""

from pathlib import Path

import pytest

from advkd.trajectories import PrecomputeSpec, filling, precompute
from storage import StorePermissionError, list_stores, verify
from tests.s3_server import S3Server, end, start_s3

KEY, SECRET = "access", "MARKED-secret-key"


@pytest.mark.thorough
def test_rights_that_come_back_find_the_shards_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, port = start_s3(tmp_path, KEY, SECRET)
    try:
        server = S3Server(f"http://127.0.0.1:{port}", KEY, SECRET, tmp_path)
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        root = server.make_bucket() + "/stores"
        sizes = {"samples": 16, "shard_samples": 8, "block_samples": 8, "captures": 2}
        spec = PrecomputeSpec(teacher="mixture", store=root, **sizes)
        work = filling.Filling.of(spec)
        work.compute(0)
        end(process)
        process, _ = start_s3(tmp_path, KEY, "another-secret-key", port)
        with pytest.raises(StorePermissionError, match="AWS_SECRET_ACCESS_KEY") as refused:
            work.compute(1)
        assert "MARKED" not in str(refused.value)
        with pytest.raises(StorePermissionError):
            precompute(spec)
        end(process)
        process, _ = start_s3(tmp_path, KEY, SECRET, port)
        (store,) = list_stores(root)
        assert (store.state, store.num_samples) == ("growing", 8)
        assert precompute(spec).computed == 1
        assert verify(store.uri) == []
    finally:
        end(process)
