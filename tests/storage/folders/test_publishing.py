"""A folder at a URI is there whole or not at all, whatever is killed; what is left is named, and that alone removed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import FolderDamagedError, StoreNotFoundError, delete, join, list_prefix, read_bytes, write_bytes
from storage.care.garbage import OLD_CLAIM, UNPUBLISHED, find_garbage, remove_garbage
from storage.folders import (
    clear_unfinished,
    fetch_folder,
    probe_folder,
    publish_folder,
    publishing,
    read_contents,
    remove_published,
    unfinished_below,
)
from storage.objects import access

FILES = {"config.json": b"{}", "unet/weights.safetensors": bytes(range(256)) * 40}
OTHER = {"config.json": b"{} ", "card.md": b"a card"}


def local(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def fetched(uri: str, folder: Path) -> dict[str, bytes]:
    fetch_folder(uri, folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it is done."""


@pytest.fixture(params=["s3", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "s3":
        yield join(request.getfixturevalue("s3_root"), "runs", "folder")
        return
    root = f"memory://{tmp_path.name}"
    yield join(root, "runs", "folder")
    for key in list_prefix(root):
        delete(join(root, key))


def root_of(uri: str) -> str:
    return uri.removesuffix("/runs/folder")


def test_what_is_published_is_fetched_and_hidden_files_stay_at_home(uri: str, tmp_path: Path) -> None:
    here = local(tmp_path / "here", {**FILES, ".lock": b"", ".part/x": b""})
    assert publish_folder(here, uri)
    assert fetched(uri, tmp_path / "there") == FILES
    assert sorted(list_prefix(uri)) == ["config.json", "contents.json", "unet/weights.safetensors"]
    assert not publish_folder(here, uri)


def test_a_folder_is_replaced_as_a_whole(uri: str, tmp_path: Path) -> None:
    publish_folder(local(tmp_path / "a", FILES), uri)
    assert publish_folder(local(tmp_path / "b", OTHER), uri)
    assert fetched(uri, tmp_path / "there") == OTHER
    assert sorted(list_prefix(uri)) == ["card.md", "config.json", "contents.json"]


def test_a_folder_is_removed_as_a_whole_and_foreign_objects_stay(uri: str, tmp_path: Path) -> None:
    publish_folder(local(tmp_path / "a", FILES), uri)
    write_bytes(join(uri, "notes.txt"), b"mine")
    remove_published(uri)
    assert list_prefix(uri) == ["notes.txt"]
    remove_published(uri)


def test_a_folder_without_contents_and_another_file_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"must be whole, but .* has no contents.json"):
        fetch_folder(uri, tmp_path / "none")
    publish_folder(local(tmp_path / "a", FILES), uri)
    write_bytes(join(uri, "config.json"), b"[]")
    with pytest.raises(FolderDamagedError, match=r"got another config.json"):
        fetch_folder(uri, tmp_path / "changed")
    delete(join(uri, "config.json"))
    with pytest.raises(FolderDamagedError, match=r"got another config.json"):
        fetch_folder(uri, tmp_path / "missing")


@pytest.mark.parametrize(
    "record", [{"files": {"../x": {"bytes": 1, "sha256": ""}}}, {"files": []}, [], {"files": {"x": {"bytes": "1"}}}]
)
def test_a_forged_record_leads_nowhere(uri: str, tmp_path: Path, record: object) -> None:
    write_bytes(join(uri, "contents.json"), json.dumps(record).encode())
    with pytest.raises(FolderDamagedError, match="must name the files of its folder"):
        fetch_folder(uri, tmp_path / "here")
    assert not (tmp_path / "x").exists()


def test_names_of_the_records_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"names of their own, got 'contents.json'"):
        publish_folder(local(tmp_path / "a", {"contents.json": b""}), uri)


def test_a_probe_keeps_what_a_killed_writer_has_named(uri: str) -> None:
    probe_folder(uri)
    assert list_prefix(uri) == []
    write_bytes(join(uri, "unfinished.json"), b'["config.json"]')
    probe_folder(uri)
    assert json.loads(read_bytes(join(uri, "unfinished.json"))) == ["config.json"]


def calls_until(monkeypatch: pytest.MonkeyPatch, last: int) -> list[int]:
    """Kills at the `last`-th change, before it is made."""
    seen: list[int] = []
    for name in ("write_bytes", "delete"):

        def counted(uri: str, *rest: bytes, real: object = getattr(access, name)) -> None:
            if len(seen) == last:
                raise Killed
            seen.append(1)
            real(uri, *rest)  # type: ignore[operator]

        monkeypatch.setattr(publishing, name, counted)

    def noted(uri: str, value: object, *, real: object = access.write_json) -> None:
        if len(seen) == last:
            raise Killed
        seen.append(1)
        real(uri, value)  # type: ignore[operator]

    monkeypatch.setattr("storage.folders.contents.write_json", noted)
    return seen


@pytest.mark.thorough
@pytest.mark.parametrize("job", ["first", "replaced", "removed"])
def test_a_kill_before_any_change_leaves_the_old_folder_or_none_and_gc_finds_the_rest(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    a, b = local(tmp_path / "a", FILES), local(tmp_path / "b", OTHER)
    work = {"first": lambda: publish_folder(a, uri), "replaced": lambda: publish_folder(b, uri)}.get(
        job, lambda: remove_published(uri)
    )
    after = {"first": FILES, "replaced": OTHER}.get(job)
    before = None if job == "first" else FILES
    write_bytes(join(uri, "notes.txt"), b"mine")
    for last in range(100):
        if before:
            publish_folder(a, uri)
        with monkeypatch.context() as patch:
            seen = calls_until(patch, last)
            try:
                work()
                finished = True
            except Killed:
                finished = False
        there = None if read_contents(uri) is None else fetched(uri, tmp_path / f"there-{last}")
        assert there in (before, after, None)
        if finished:
            assert there == after
            assert len(seen) == last > 4
            break
        # Every object belongs to a whole folder, or is named, or is foreign.
        left = find_garbage(root_of(uri), 0)
        known = set(there or ()) | {one.key for found in left for one in found.old} | {"notes.txt", "contents.json"}
        assert set(list_prefix(uri)) <= known
        assert {one.kind for found in left for one in found.old} <= {UNPUBLISHED}
        assert all(not found.old for found in find_garbage(root_of(uri), 3600))
        for found in left:
            assert len(remove_garbage(found)) == len(found.old)
        assert set(list_prefix(uri)) == {"notes.txt", *(there or ()), *(["contents.json"] if there else [])}
        assert find_garbage(root_of(uri), 0) == []
        remove_published(uri)
    else:
        pytest.fail("the work never ended")


def test_claims_of_killed_runs_are_found_by_their_age(uri: str, tmp_path: Path) -> None:
    publish_folder(local(tmp_path / "a", FILES), uri)
    write_bytes(f"{uri}.claim", b"{}")
    write_bytes(join(root_of(uri), "notes.claimed"), b"{}")
    assert [one.old for one in find_garbage(root_of(uri), 3600)] == [()]
    (found,) = find_garbage(root_of(uri), 0)
    assert [(one.kind, one.key) for one in found.old] == [(OLD_CLAIM, "folder.claim")]
    remove_garbage(found)
    assert find_garbage(root_of(uri), 0) == []
    assert fetched(uri, tmp_path / "there") == FILES


def test_what_a_writer_finishes_meanwhile_stays(uri: str, tmp_path: Path) -> None:
    write_bytes(join(uri, "unfinished.json"), b'["config.json"]')
    write_bytes(join(uri, "config.json"), FILES["config.json"])
    (found,) = find_garbage(root_of(uri), 0)
    publish_folder(local(tmp_path / "a", FILES), uri)
    remove_garbage(found)
    assert fetched(uri, tmp_path / "there") == FILES


def test_a_forged_note_names_nothing_outside_of_its_folder(uri: str) -> None:
    write_bytes(join(uri, "unfinished.json"), b'["../other.txt", "contents.json", 3, "a"]')
    write_bytes(join(uri, "a"), b"")
    write_bytes(join(root_of(uri), "runs", "other.txt"), b"")
    clear_unfinished(uri)
    assert list_prefix(root_of(uri)) == ["runs/other.txt"]
    assert unfinished_below(root_of(uri)) == []
