"""Whole objects under a URI: the same behaviour everywhere, and clear errors where it fails."""

import errno
import multiprocessing
import os
import random
import socket
import time
from pathlib import Path

import pytest

from storage import (
    StoreError,
    StoreFullError,
    StoreNotFoundError,
    StorePermissionError,
    StoreUnreachableError,
    delete,
    exists,
    is_sealed,
    join,
    list_folders,
    list_prefix,
    list_stores,
    missing_shards,
    open_writer,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
)
from storage.objects import s3 as s3_objects
from storage.objects.access import list_level, list_objects, read_range
from storage.testing.trajectories import fill, make_spec, shard_states
from tests.faulty_proxy import FAULTS, faulty_proxy
from tests.s3_server import S3Server

pytestmark = pytest.mark.timeout(300)

_INSTANT_FAULTS = tuple(fault for fault in FAULTS if fault != "delay")
_REAL_PAUSE_SECONDS = s3_objects._FIRST_PAUSE_SECONDS


@pytest.fixture(params=["path", "file", "memory", pytest.param("s3", marks=pytest.mark.thorough)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty root on each kind of storage."""
    if request.param == "s3":
        return str(request.getfixturevalue("s3_root"))
    return {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{tmp_path.name}"}[request.param]


class TestEveryKindOfStorage:
    """One contract for all of them."""

    def test_objects_come_back_and_go(self, root: str) -> None:
        uri = join(root, "a/b", "c.bin")
        assert not exists(uri)
        with pytest.raises(StoreNotFoundError, match="check the"):
            read_bytes(uri)
        for data in (b"first", b"", os.urandom(300_000)):
            write_bytes(uri, data)
            assert read_bytes(uri) == data
        assert exists(uri)
        assert not exists(join(root, "a"))
        delete(uri)
        delete(uri)
        assert not exists(uri)

    def test_ranges_are_slices(self, root: str) -> None:
        uri, data = join(root, "object"), random.Random(0).randbytes(10_000)
        write_bytes(uri, data)
        for start, stop in ((0, 10_000), (0, 1), (4_000, 4_001), (9_999, 10_000), (9_000, 12_000), (17, 6_543)):
            assert read_range(uri, start, stop) == data[start:stop]
        for start, stop in ((10_000, 10_001), (10_000, 10_000), (50_000, 60_000), (0, 0), (12, 12)):
            assert read_range(uri, start, stop) == b""
        write_bytes(uri, b"")
        assert read_range(uri, 0, 10) == b""
        for start, stop in ((-1, 5), (6, 5), (-7, -3)):
            with pytest.raises(ValueError, match="start <= stop"):
                read_range(uri, start, stop)
        for start, stop in ((0, 10), (5, 5)):
            with pytest.raises(StoreNotFoundError, match="check the"):
                read_range(join(root, "nothing"), start, stop)

    def test_listing_tells_size_and_age_and_starts_anywhere(self, root: str) -> None:
        keys = ["a", "b/1", "b/10", "b/2", "b0", "c"]
        for size, key in enumerate(keys):
            write_bytes(join(root, key), bytes(size))
        found = list_objects(root)
        assert [(entry.key, entry.size) for entry in found] == list(zip(keys, range(6), strict=True))
        assert all(abs(entry.modified - time.time()) < 30 for entry in found)
        for start_after in ("", "0", "a", "b", "b/1", "b/11", "b0", "c", "d"):
            expected = [entry for entry in found if entry.key > start_after]
            assert list_objects(root, start_after=start_after) == expected
        assert [entry.key for entry in list_objects(join(root, "b"), start_after="1")] == ["10", "2"]
        assert list_objects(join(root, "a")) == []

    def test_listing_is_relative_sorted_and_bounded(self, root: str) -> None:
        assert list_prefix(root) == []
        assert list_folders(root) == []
        for key in ("x/2", "x/10/y", "z", "xx/1"):
            write_bytes(join(root, key), b".")
        assert list_prefix(root) == ["x/10/y", "x/2", "xx/1", "z"]
        assert list_prefix(join(root, "x")) == ["10/y", "2"]
        assert list_folders(root) == ["x", "xx"]
        level = list_level(root)
        assert level.folders == ["x", "xx"]
        assert [one.key for one in level.objects] == ["z"]

    def test_json(self, root: str) -> None:
        uri = join(root, "value.json")
        write_json(uri, {"a": [1, 2.5, None]})
        assert read_json(uri) == {"a": [1, 2.5, None]}
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(uri, float("nan"))
        write_bytes(uri, b"\x80{")
        with pytest.raises(StoreError, match="must hold JSON"):
            read_json(uri)


@pytest.mark.parametrize("part", ["..", "a/../b", "/etc", "a//b", "", "."])
def test_a_uri_only_leads_downwards(part: str) -> None:
    with pytest.raises(ValueError, match="downwards"):
        join("/data", part)


def test_a_store_lives_in_any_fsspec_storage() -> None:
    fill("memory://anywhere", make_spec(), 12)
    assert is_sealed("memory://anywhere", make_spec(), 12)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(StoreError, match="scheme"):
        read_bytes("nonsense://bucket/key")


class TestLocalFailures:
    """A name never holds half a write."""

    def test_a_full_disk_leaves_the_old_object_and_no_temporary_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        uri = str(tmp_path / "object")
        write_bytes(uri, b"old")
        original, written = os.write, []

        def full_after_some(descriptor: int, data: memoryview) -> int:
            if written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written.append(original(descriptor, bytes(data[:1000])))
            return written[0]

        monkeypatch.setattr("storage.objects.local.os.write", full_after_some)
        with pytest.raises(StoreFullError, match=r"free space.*run again"):
            write_bytes(uri, bytes(5000))
        monkeypatch.undo()
        assert [path.name for path in tmp_path.iterdir()] == ["object"]
        assert read_bytes(uri) == b"old"

    def test_a_full_disk_leaves_a_store_that_resumes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        root, spec = str(tmp_path), make_spec()
        open_writer(root, spec).write_shard(0, shard_states(spec, 0))

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("storage.objects.local.os.write", full)
        with pytest.raises(StoreFullError):
            open_writer(root, spec).write_shard(1, shard_states(spec, 1))
        monkeypatch.undo()
        assert missing_shards(root, spec, 16) == [1]
        fill(root, spec, 16)

    def test_no_permission_to_write(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        root = str(tmp_path / "file" / "stores")
        with pytest.raises(StorePermissionError, match=r"must be writable.*choose another"):
            open_writer(root, make_spec()).write_shard(0, shard_states(make_spec(), 0))
        assert (tmp_path / "file").read_text() == "in the way"

    def test_a_folder_is_in_the_way(self, tmp_path: Path) -> None:
        with pytest.raises(StorePermissionError):
            write_bytes(str(tmp_path), b"data")
        assert list(tmp_path.iterdir()) == []

    def test_unfinished_writes_are_not_listed(self, tmp_path: Path) -> None:
        (tmp_path / ".tmp-000001.json-12-ab").write_text("{")
        (tmp_path / "000000.json").write_text("{}")
        assert list_prefix(str(tmp_path)) == ["000000.json"]


class TestS3Failures:
    """Errors name endpoint, bucket and remedy, and never a key."""

    def assert_clear(self, error: StoreError, server: S3Server, *parts: str) -> None:
        for part in parts:
            assert part in str(error)
        assert server.key not in str(error)
        assert server.secret not in str(error)

    def test_wrong_key(self, s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
        for call in (read_bytes, list_prefix, lambda uri: write_bytes(uri, b"x"), exists):
            with pytest.raises(StorePermissionError) as caught:
                call(join(s3_root, "key"))
            self.assert_clear(caught.value, s3_server, s3_server.endpoint, "AWS_SECRET_ACCESS_KEY")
            assert "wrong-secret" not in str(caught.value)

    def test_no_credentials(self, s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(StorePermissionError, match="AWS_ACCESS_KEY_ID"):
            list_prefix(s3_root)

    def test_missing_bucket(self, s3_root: str, s3_server: S3Server) -> None:
        spec = make_spec()
        for call in (
            lambda: missing_shards("s3://no-such-bucket/stores", spec, 8),
            lambda: open_writer("s3://no-such-bucket/stores", spec).write_shard(0, shard_states(spec, 0)),
        ):
            with pytest.raises(StoreNotFoundError) as caught:
                call()
            self.assert_clear(caught.value, s3_server, s3_server.endpoint, "no-such-bucket", "create it first")

    def test_nobody_listens(self, s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            endpoint = f"http://user:hidden@127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        bucket, shown = s3_root.split("/")[2], endpoint.replace("user:hidden@", "")
        # Reading and listing: botocore and aiohttp name the same failure differently.
        for call in (lambda: missing_shards(s3_root, make_spec(), 8), lambda: list_stores(s3_root)):
            started = time.monotonic()
            with pytest.raises(StoreUnreachableError) as caught:
                call()
            assert time.monotonic() - started < 15
            self.assert_clear(caught.value, s3_server, shown, bucket, "AWS_ENDPOINT_URL")
            assert "hidden" not in str(caught.value)

    def test_nobody_answers(self, s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("CONNECT_TIMEOUT_SECONDS", "READ_TIMEOUT_SECONDS", "GIVE_UP_SECONDS"):
            monkeypatch.setattr(s3_objects, name, 0.5)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
            for call in (read_bytes, list_prefix, exists, lambda uri: write_bytes(uri, bytes(2**16))):
                started = time.monotonic()
                with pytest.raises(StoreUnreachableError, match="run the same command again"):
                    call(join(s3_root, "key"))
                assert time.monotonic() - started < 5

    def test_credentials_in_a_uri_are_refused_unprinted(self) -> None:
        with pytest.raises(ValueError, match="AWS variables") as caught:
            read_bytes("s3://KEY:SECRET@bucket/key")
        assert "SECRET" not in str(caught.value)

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on fork with threads
    @pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
    def test_a_child_process_opens_its_own(self, s3_root: str, method: str) -> None:
        write_bytes(join(s3_root, "key"), b"before the fork")
        # A fork server that an earlier test started has the environment of then.
        with multiprocessing.get_context(method).Pool(1, _set_environment, (dict(os.environ),)) as pool:
            assert pool.apply(read_bytes, (join(s3_root, "key"),)) == b"before the fork"


class TestAFaultyNetwork:
    """A proxy between client and server answers 500 and 503, resets, delays and cuts short what it passes on."""

    def test_every_byte_is_right(self, s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        chance, written = random.Random(0), dict[str, bytes]()
        with faulty_proxy(s3_server.endpoint, 0.3, delay_seconds=0.05) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
            for number in range(15):
                key, data = f"{number % 4}/{number:02}", chance.randbytes(chance.choice((1, 1000, 300_000)))
                write_bytes(join(s3_root, key), data)
                written[key] = data
                other, whole = chance.choice(sorted(written.items()))
                assert read_bytes(join(s3_root, other)) == whole
                start = chance.randrange(len(whole))
                assert read_range(join(s3_root, other), start, len(whole) - 1) == whole[start:-1]
                sizes = {name: len(content) for name, content in written.items()}
                assert {entry.key: entry.size for entry in list_objects(s3_root)} == sizes
        assert set(proxy.hits) == set(FAULTS)

    @pytest.mark.parametrize("faults", [(fault,) for fault in _INSTANT_FAULTS] + [_INSTANT_FAULTS])
    def test_nothing_but_faults_ends_soon(
        self, s3_root: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, faults: tuple[str, ...]
    ) -> None:
        if faults == _INSTANT_FAULTS:
            monkeypatch.setattr(s3_objects, "_FIRST_PAUSE_SECONDS", _REAL_PAUSE_SECONDS)
        uri, bucket = join(s3_root, "key"), s3_root.split("/")[2]
        write_bytes(uri, bytes(1000))
        with faulty_proxy(s3_server.endpoint, 1.0, faults=faults) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
            for call in (read_bytes, lambda uri: write_bytes(uri, bytes(2000))):
                started, requests = time.monotonic(), proxy.requests
                with pytest.raises(StoreUnreachableError) as caught:
                    call(uri)
                assert time.monotonic() - started < 45
                assert proxy.requests - requests >= s3_objects.MAX_ATTEMPTS
                for part in (proxy.endpoint, bucket, "AWS_ENDPOINT_URL", "run the same command again"):
                    assert part in str(caught.value)
                assert s3_server.key not in str(caught.value)


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.update(variables)


def test_a_listing_of_many_pages(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_objects, "PAGE", 2)
    for number in range(7):
        write_bytes(join(s3_root, str(number)), bytes(number))
    assert [entry.size for entry in list_objects(s3_root)] == list(range(7))
    assert [entry.key for entry in list_objects(s3_root, start_after="1")] == list("23456")


@pytest.mark.parametrize("name", ["sp ace", "hash#1", "50%", "question?", "ü"])
def test_a_file_uri_is_percent_encoded(tmp_path: Path, name: str) -> None:
    uri = join((tmp_path / name).as_uri(), "a.txt")
    write_bytes(uri, b"here")
    assert (tmp_path / name / "a.txt").read_bytes() == b"here"
    assert list_folders(tmp_path.as_uri()) == [name]


def test_a_file_uri_of_another_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="must name a path of this machine, got the host 'other'"):
        read_bytes("file://other/x")
    with pytest.raises(StoreNotFoundError):
        read_bytes("file://localhost/no/such/file")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_bytes("~/runs/a.txt", b"here")
    assert (tmp_path / "runs" / "a.txt").read_bytes() == b"here"
    assert not (tmp_path / "~").exists()


def test_stores_of_a_flow_s_root_are_listed(tmp_path: Path) -> None:
    fill(str(tmp_path / "stores"), make_spec(), 8)
    assert [store.uri for store in list_stores(str(tmp_path))] == [
        store.uri for store in list_stores(str(tmp_path / "stores"))
    ]
