"""Writes that never finished: invisible to readers, found and removed by those who clean up."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pytest

from storage.errors import StoreError, StoreNotFoundError
from storage.objects import s3 as s3_objects
from storage.objects.access import (
    Leftover,
    delete,
    exists,
    join,
    list_leftovers,
    list_objects,
    list_prefix,
    read_bytes,
    remove_leftover,
    write_bytes,
)
from tests.storage.objects.scripted_server import error_answer, scripted_server

pytestmark = pytest.mark.timeout(60)

_KILLED_AT_THE_FLUSH = """
import os, signal, sys
from storage.objects import write_bytes
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_bytes(sys.argv[1], bytes(1000))
"""


class TestOnDisk:
    """Temporary files at any depth."""

    def test_a_killed_write_is_found_and_removed(self, tmp_path: Path) -> None:
        root, key = str(tmp_path), "digest/shards/000001.bin"
        write_bytes(join(root, key), b"old")
        killed = subprocess.run([sys.executable, "-c", _KILLED_AT_THE_FLUSH, join(root, key)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert list_prefix(root) == [key]
        assert read_bytes(join(root, key)) == b"old"
        (found,) = list_leftovers(root)
        assert found.key.startswith("digest/shards/.tmp-000001.bin-")
        assert (found.upload_id, found.size) == (None, 1000)
        assert abs(found.started - time.time()) < 30
        assert [leftover.key for leftover in list_leftovers(join(root, "digest"))] == [
            found.key.removeprefix("digest/")
        ]
        remove_leftover(root, found)
        remove_leftover(root, found)
        assert list_leftovers(root) == []
        assert [path.name for path in (tmp_path / "digest/shards").iterdir()] == ["000001.bin"]

    def test_nothing_there(self, tmp_path: Path) -> None:
        assert list_leftovers(str(tmp_path / "nowhere")) == []
        write_bytes(str(tmp_path / "object"), b".")
        assert list_leftovers(str(tmp_path)) == []

    @pytest.mark.parametrize("key", ["object", "../.tmp-x", "a/../../.tmp-x", "/.tmp-x", ".tmp-folder/object"])
    def test_only_temporary_files_below_are_removed(self, tmp_path: Path, key: str) -> None:
        (tmp_path / "store" / ".tmp-folder").mkdir(parents=True)
        for name in (".tmp-x", "store/object", "store/.tmp-folder/object"):
            (tmp_path / name).write_text(".")
        with pytest.raises(ValueError, match="list_leftovers"):
            remove_leftover(str(tmp_path / "store"), Leftover(key=key, started=0.0, upload_id=None, size=1))
        assert sum(path.is_file() for path in tmp_path.rglob("*")) == 3

    def test_an_upload_is_no_file(self, tmp_path: Path) -> None:
        (tmp_path / ".tmp-x").write_text(".")
        with pytest.raises(ValueError, match="list_leftovers"):
            remove_leftover(str(tmp_path), Leftover(key=".tmp-x", started=0.0, upload_id="u", size=None))


class TestSymbolicLinks:
    """They may lead anywhere, so nothing behind a link to a folder is listed, and nothing removed."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Path:
        """A folder with an object and links to a folder, to a file, to nothing and to itself."""
        store, outside = tmp_path / "store", tmp_path / "outside"
        for folder in (store, outside):
            folder.mkdir()
            (folder / "object").write_text(folder.name)
            (folder / ".tmp-object").write_text("half")
        for name, target in {"folder": outside, "file": outside / "object", "dangling": "gone", "loop": "loop"}.items():
            (store / name).symlink_to(target)
        return store

    def test_links_to_files_are_listed_and_no_others(self, store: Path) -> None:
        assert {entry.key: entry.size for entry in list_objects(str(store))} == {"file": 7, "object": 5}
        assert [key for key in ("dangling", "file", "folder", "object") if exists(str(store / key))] == [
            "file",
            "object",
        ]
        assert [leftover.key for leftover in list_leftovers(str(store))] == [".tmp-object"]

    def test_a_link_to_the_root_is_followed(self, store: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(store)
        assert list_prefix(str(tmp_path / "link")) == ["file", "object"]

    def test_deleting_removes_the_link(self, store: Path, tmp_path: Path) -> None:
        for name in ("folder", "file", "dangling"):
            delete(str(store / name))
            assert not (store / name).is_symlink()
        assert sorted(path.name for path in (tmp_path / "outside").iterdir()) == [".tmp-object", "object"]

    def test_no_leftover_is_removed_through_a_link(self, store: Path, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"symbolic link.*by hand"):
            remove_leftover(str(store), Leftover(key="folder/.tmp-object", started=0.0, upload_id=None, size=4))
        assert (tmp_path / "outside" / ".tmp-object").exists()


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    """A moto server in this process, on a free port."""
    # Two seconds, which tests that need none of it shall not wait.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    server._server.server_close()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.thorough) for name in ("rclone", "moto")])
def bucket(request: pytest.FixtureRequest, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket on each real server, with the AWS variables set to reach it."""
    name = s3_root.split("/")[2]
    if request.param == "moto":
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("moto_endpoint"))
        boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def client(bucket: str) -> Iterator[Any]:
    """boto3, as another tool of the bucket's owner."""
    client = boto3.client("s3")
    yield client
    client.close()


def begin(client: Any, bucket: str, key: str) -> str:
    """Begin a multipart upload that is never completed."""
    upload: str = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=bytes(1000))
    return upload


class TestMultipartUploads:
    """Uploads that others began: our own writes are single PUTs."""

    def test_they_are_found_and_aborted(self, client: Any, bucket: str) -> None:
        root = f"s3://{bucket}/stores/one"
        assert list_leftovers(root) == []
        write_bytes(join(root, "shards/object"), b"whole")
        uploads = {begin(client, bucket, f"stores/one/shards/{name}"): name for name in ("a", "a", "b")}
        other = begin(client, bucket, "stores/other/a")
        assert list_prefix(root) == ["shards/object"]
        found = list_leftovers(root)
        assert [leftover.key for leftover in found] == ["shards/a", "shards/a", "shards/b"]
        assert {leftover.upload_id: leftover.key.removeprefix("shards/") for leftover in found} == uploads
        assert all(leftover.size is None and 0 < leftover.started < time.time() + 30 for leftover in found)
        remove_leftover(root, found[0])
        remove_leftover(root, found[0])
        assert list_leftovers(root) == found[1:]
        with pytest.raises(botocore.exceptions.ClientError, match="NoSuchUpload"):
            client.list_parts(Bucket=bucket, Key="stores/one/shards/a", UploadId=found[0].upload_id)
        for leftover in found[1:]:
            remove_leftover(root, leftover)
        assert list_leftovers(root) == []
        assert [leftover.upload_id for leftover in list_leftovers(f"s3://{bucket}")] == [other]
        assert read_bytes(join(root, "shards/object")) == b"whole"

    def test_a_file_is_no_upload(self, bucket: str) -> None:
        with pytest.raises(ValueError, match="list_leftovers"):
            remove_leftover(f"s3://{bucket}", Leftover(key=".tmp-x", started=0.0, upload_id=None, size=1))

    def test_no_bucket(self, bucket: str) -> None:
        with pytest.raises(StoreNotFoundError, match="create it first"):
            list_leftovers("s3://no-such-bucket/stores")

    def test_pages(self, client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(s3_objects, "PAGE", 2)
        uploads = sorted(begin(client, bucket, key) for key in ("a", "b", "b", "b", "c"))
        assert sorted(leftover.upload_id or "" for leftover in list_leftovers(f"s3://{bucket}")) == uploads
        for number in range(7):
            write_bytes(f"s3://{bucket}/{number}", bytes(number))
        assert [entry.size for entry in list_objects(f"s3://{bucket}")] == list(range(7))
        assert [entry.key for entry in list_objects(f"s3://{bucket}", start_after="1")] == list("23456")


@pytest.mark.parametrize(("status", "code"), [(501, ""), (405, "MethodNotAllowed"), (400, "NotImplemented")])
def test_a_server_that_lists_no_uploads(s3_root: str, monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> None:
    with scripted_server([error_answer(status, code)]) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert list_leftovers(s3_root) == []
    assert len(requests) == 1


def test_elsewhere_there_are_none() -> None:
    write_bytes("memory://leftovers/.tmp-x", b".")
    assert list_leftovers("memory://leftovers") == []
    with pytest.raises(ValueError, match="own tools"):
        remove_leftover("memory://leftovers", Leftover(key=".tmp-x", started=0.0, upload_id=None, size=1))
