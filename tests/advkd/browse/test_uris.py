"""Places that are named at the start and cannot be shown, and what is told of them: never credentials."""

import os
from pathlib import Path

import pytest

from storage import StoreError, digest
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import rows
from tests.advkd.browse.specs import image_spec


class TestBadUris:
    """Refused before anything is served, with what is missing."""

    def test_nothing_there(self, tmp_path: Path, opened: Opened) -> None:
        with pytest.raises(StoreError, match=r"there is no folder .*none; check the path"):
            opened(str(tmp_path / "none"))

    def test_somebody_elses_webdataset(self, tmp_path: Path, opened: Opened) -> None:
        (tmp_path / "train-000.tar").write_bytes(b"tar")
        with pytest.raises(StoreError, match=r"tars of somebody else \(train-000.tar, ...\) without them"):
            opened(str(tmp_path))

    def test_somebody_elses_folder(self, tmp_path: Path, opened: Opened) -> None:
        (tmp_path / "notes.txt").write_bytes(b"")
        with pytest.raises(StoreError, match=r"holds other things \(notes.txt"):
            opened(str(tmp_path))

    def test_a_bucket_that_is_not_there(self, s3_root: str, opened: Opened) -> None:
        with pytest.raises(StoreError, match="no-such-bucket"):
            opened("s3://no-such-bucket/stores")

    def test_no_rights(self, s3_root: str, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(PermissionError):
            opened(s3_root)

    def test_an_empty_root_waits(self, tmp_path: Path, opened: Opened) -> None:
        client = opened(str(tmp_path))
        assert "No stores here yet" in client.get("/").text


def test_the_answer_never_holds_credentials(s3_root: str, opened: Opened) -> None:
    spec = image_spec()
    fill(s3_root, spec, 32)
    client, name = opened(s3_root), digest(spec)[:16]
    text = "".join(client.get(route).text for route in ("/", f"/s/{name}", f"/s/{name}/sample/99"))
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text
    assert os.environ["AWS_ACCESS_KEY_ID"] not in text
    assert rows(client) == [name]
