import io
from pathlib import Path

import pytest

from advkd.files import object_info, opened
from storage.errors import StoreNotFoundError
from storage.objects import join, write_bytes

DATA = bytes(range(256)) * 9000


@pytest.mark.parametrize("place", ["disk", "s3", "memory"])
def test_an_object_is_read_at_any_place(place: str, tmp_path: Path, s3_root: str) -> None:
    uri = join({"disk": str(tmp_path), "s3": s3_root, "memory": "memory://opened"}[place], "folder", "object")
    write_bytes(uri, DATA)
    info = object_info(uri)
    assert info is not None
    assert info.size == len(DATA)
    with opened(uri) as file:
        assert file.read(10) == DATA[:10]
        file.seek(-300, io.SEEK_END)
        assert file.read(500) == DATA[-300:]
        assert file.read(1) == b""
        file.seek(1_500_000)
        file.seek(7, io.SEEK_CUR)
        assert file.tell() == 1_500_007
        assert file.read(1_000) == DATA[1_500_007:1_501_007]
        file.seek(0)
        assert file.read() == DATA


@pytest.mark.parametrize("place", ["disk", "s3"])
def test_an_object_that_does_not_exist_cannot_be_opened(place: str, tmp_path: Path, s3_root: str) -> None:
    root = {"disk": str(tmp_path), "s3": s3_root}[place]
    write_bytes(join(root, "folder", "object"), DATA)
    for name in ("folder", "none"):
        with pytest.raises(StoreNotFoundError, match="check the URI"):
            opened(join(root, name))
    assert object_info(join(root, "folder")) is None


def test_plain_names_are_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("object").write_bytes(b"12")
    info = object_info("object")
    assert info is not None
    assert info.size == 2
    info = object_info(f"file://{tmp_path}/object")
    assert info is not None
    assert info.key == "object"
