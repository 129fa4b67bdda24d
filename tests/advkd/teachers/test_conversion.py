"""Pickled teachers become safetensors, in a process of its own, whole or not at all; nothing in a pickle is run."""

import os
from pathlib import Path

import pytest
import torch

from advkd.teachers import TeacherError, conversion, convert_teacher, load_teacher
from tests.advkd.conftest import FolderMaker, tiny_unet
from tests.advkd.teachers.folders import as_root, pickled, weights_in


class Mine:
    """What a pickle must not make run."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (os.environ["PWNED"],)


@pytest.fixture
def only_pickles(teacher_folder: FolderMaker) -> Path:
    folder = teacher_folder("old")
    pickled(folder)
    return folder


def refused(folder: Path, out: Path, message: str) -> None:
    with pytest.raises(TeacherError, match=message):
        convert_teacher(str(folder), out)
    assert not out.exists()
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")] == []


@pytest.mark.thorough
@pytest.mark.parametrize("root", [False, True])
def test_a_converted_teacher_is_the_same(
    teacher_folder: FolderMaker, only_pickles: Path, tmp_path: Path, root: bool
) -> None:
    plain = teacher_folder("plain")
    if root:
        as_root(only_pickles)
        as_root(plain)
    with pytest.raises(TeacherError, match=r"got only pickle files .*`advkd teacher convert SOURCE --out FOLDER`"):
        load_teacher(str(only_pickles))
    heard: list[tuple[int, int]] = []
    convert_teacher(str(only_pickles), tmp_path / "new", lambda done, total: heard.append((done, total)))
    assert load_teacher(str(tmp_path / "new")).fingerprint == load_teacher(str(plain)).fingerprint
    assert heard == [(0, 1), (1, 1)]
    assert not list((tmp_path / "new").rglob("*.bin"))


@pytest.mark.thorough
def test_shards_and_variants_are_kept(teacher_folder: FolderMaker, tmp_path: Path) -> None:
    expected, sharded, half = teacher_folder("expected"), teacher_folder("sharded"), teacher_folder("half")
    for folder, options in ((sharded, {"max_shard_size": "40KB"}), (half, {"variant": "fp16"})):
        weights_in(folder).unlink()
        tiny_unet().save_pretrained(folder / "unet", safe_serialization=False, **options)
        convert_teacher(str(folder), tmp_path / f"{folder.name}-new")
        found, wanted = load_teacher(str(tmp_path / f"{folder.name}-new")), load_teacher(str(expected))
        for mine, theirs in zip(found.network.parameters(), wanted.network.parameters(), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.thorough
def test_code_in_a_pickle_is_not_run(only_pickles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWNED", str(tmp_path / "pwned"))
    torch.save({"conv_in.weight": Mine()}, weights_in(only_pickles).with_suffix(".bin"))
    refused(only_pickles, tmp_path / "new", r"a plain dict of tensors, .* got UnpicklingError: .* for .*old/unet")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.thorough
def test_what_is_no_dict_of_tensors_is_refused(only_pickles: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(1)}}, weights_in(only_pickles).with_suffix(".bin"))
    refused(only_pickles, tmp_path / "new", r"got TypeError: dict at 'state_dict' instead of a tensor for .*\.bin;")


def test_its_time_is_bounded(only_pickles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_SECONDS", 0.01)
    refused(only_pickles, tmp_path / "new", "got no end after 0.01 s for")


def test_safetensors_need_no_conversion(teacher_folder: FolderMaker, tmp_path: Path) -> None:
    refused(teacher_folder(), tmp_path / "new", "only a teacher with nothing but pickles is converted")


def test_what_no_family_knows_is_not_opened(only_pickles: Path, tmp_path: Path) -> None:
    index = only_pickles / "model_index.json"
    index.write_text(index.read_text().replace("DDPMPipeline", "Other"))
    refused(only_pickles, tmp_path / "new", "must be one of .* got 'Other'")


def test_a_folder_that_is_there_is_kept(only_pickles: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"a converted teacher needs a new folder, got .*new, which is there already"):
        convert_teacher(str(only_pickles), tmp_path / "new")
    assert (tmp_path / "new" / "mine.txt").exists()
