"""Teachers out of an object store: by content, whole, from safetensors alone, and pinned ones or none."""

import shutil
from pathlib import Path

import pytest

from advkd.teachers import TeacherChangedError, TeacherError, hub_repository, load_teacher
from advkd.teachers.families import folder_fingerprint
from advkd.teachers.pins import pinned, split_pin
from advkd.teachers.sources import HubId, hub_id, teacher_name
from advkd.trajectories import PrecomputeSpec, cached_teacher
from storage.errors import StoreError
from storage.folders import fetching
from storage.objects.access import delete, list_prefix, read_bytes, write_bytes
from tests.advkd.cli.calls import Cli
from tests.advkd.conftest import FolderMaker, tiny_unet
from tests.advkd.teachers.folders import as_root, as_variants, pickled

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "teachers"


@pytest.fixture
def uploaded(s3_root: str, teacher_folder: FolderMaker, cache: Path) -> str:
    upload(teacher_folder(), f"{s3_root}/Tiny One")
    return f"{s3_root}/Tiny One"


def upload(folder: Path, uri: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            write_bytes(f"{uri}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def remove(uri: str) -> None:
    for key in list_prefix(uri):
        delete(f"{uri}/{key}")


def test_a_uri_is_a_teacher_wherever_a_folder_is_one(uploaded: str, teacher_folder: FolderMaker, cache: Path) -> None:
    teacher = load_teacher(uploaded)
    assert teacher.name == "tiny-one"
    assert teacher.fingerprint == load_teacher(str(teacher_folder())).fingerprint
    assert cached_teacher(PrecomputeSpec(teacher=uploaded).teacher, "cpu").fingerprint == teacher.fingerprint
    assert {path.name for path in cache.iterdir()} == {teacher.fingerprint, "seen"}


def test_what_is_cached_is_not_fetched_again_and_a_pin_needs_the_source_no_more(
    uploaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = load_teacher(uploaded).fingerprint
    monkeypatch.setattr(fetching, "read_range", lambda *_: pytest.fail("it was fetched again"))
    assert load_teacher(uploaded).fingerprint == fingerprint
    remove(uploaded)
    assert load_teacher(pinned(uploaded, fingerprint)).fingerprint == fingerprint


def test_a_damaged_copy_is_fetched_again(uploaded: str, cache: Path) -> None:
    fingerprint = load_teacher(uploaded).fingerprint
    weights = cache / fingerprint / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert load_teacher(uploaded).fingerprint == fingerprint
    assert folder_fingerprint(cache / fingerprint) == fingerprint
    (cache / fingerprint / "model_index.json").unlink()
    assert load_teacher(pinned(uploaded, fingerprint)).fingerprint == fingerprint


def test_a_replaced_teacher_is_another_one(uploaded: str, teacher_folder: FolderMaker, cache: Path) -> None:
    old = load_teacher(uploaded).fingerprint
    upload(teacher_folder("other", unet=tiny_unet(seed=1)), uploaded)
    assert load_teacher(uploaded).fingerprint != old
    shutil.rmtree(cache / old)
    with pytest.raises(TeacherChangedError, match=rf"a pinned teacher must still be .* instead of {old[:12]} at s3://"):
        load_teacher(pinned(uploaded, old))


def test_a_pinned_folder_is_that_teacher_or_none(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    assert load_teacher(pinned(str(folder), folder_fingerprint(folder))).name == "tiny"
    with pytest.raises(TeacherChangedError, match="a pinned teacher must still be what it was"):
        load_teacher(pinned(str(folder), "0" * 64))
    with pytest.raises(TeacherError, match=r"a teacher is pinned by .* 64 hex digits"):
        load_teacher(f"{folder}#sha256=abc")


def test_a_teacher_that_changes_while_it_is_fetched_is_none(
    uploaded: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = fetching.read_range

    def replacing(uri: str, start: int, stop: int) -> bytes:
        data = read(uri, start, stop)
        write_bytes(f"{uploaded}/extra.txt", b"more of it")
        return data

    monkeypatch.setattr(fetching, "read_range", replacing)
    with pytest.raises(TeacherChangedError, match=r"must stay as it is while it is read, but s3://.* changed"):
        load_teacher(uploaded)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_folder_that_is_replaced_while_it_is_loaded_is_none(
    teacher_folder: FolderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from advkd.teachers import unet as module

    folder, other, load = teacher_folder(), teacher_folder("other", unet=tiny_unet(seed=1)), module._load_unet

    def replacing(where: Path) -> object:
        network = load(where)
        shutil.copyfile(other / WEIGHTS, where / WEIGHTS)
        return network

    monkeypatch.setattr(module, "_load_unet", replacing)
    with pytest.raises(TeacherChangedError, match="must stay as it is while it is read"):
        load_teacher(str(folder))


def test_code_and_pickles_are_not_even_fetched(uploaded: str, cache: Path) -> None:
    for key in ("pipeline.py", "unet/model.py", "unet/diffusion_pytorch_model.bin", "text_encoder/config.json"):
        write_bytes(f"{uploaded}/{key}", b"import os")
    fingerprint = load_teacher(uploaded).fingerprint
    kept = {path.relative_to(cache / fingerprint).as_posix() for path in (cache / fingerprint).rglob("*.*")}
    assert kept == {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json", WEIGHTS}


@pytest.mark.parametrize("layout", ["root", "bf16", "sharded"])
def test_other_layouts_are_fetched_as_far_as_needed(
    s3_root: str, teacher_folder: FolderMaker, cache: Path, layout: str
) -> None:
    folder = teacher_folder()
    if layout == "root":
        as_root(folder)
        (folder / "v1-pruned.safetensors").write_bytes(b"not to be fetched")
    elif layout == "bf16":
        as_variants(folder, "bf16", "non_ema")
    else:
        shutil.rmtree(folder / "unet")
        tiny_unet().save_pretrained(folder / "unet", max_shard_size="10KB")
    upload(folder, f"{s3_root}/one")
    fingerprint = load_teacher(f"{s3_root}/one").fingerprint
    assert fingerprint == load_teacher(str(folder)).fingerprint
    names = {path.name for path in (cache / fingerprint).rglob("*.safetensors")}
    assert not names & {"v1-pruned.safetensors", "diffusion_pytorch_model.non_ema.safetensors"}


@pytest.mark.parametrize(
    ("key", "old", "new", "message"),
    [
        (
            "model_index.json",
            "DDPMPipeline",
            "PixArtAlphaPipeline",
            r"must be one of .* got 'PixArtAlphaPipeline' in s3://",
        ),
        ("unet/config.json", '"class_embed_type": null', '"class_embed_type": "timestep"', "must embed the numbers"),
    ],
)
def test_what_cannot_be_used_is_refused_before_its_weights_come(
    uploaded: str, monkeypatch: pytest.MonkeyPatch, key: str, old: str, new: str, message: str
) -> None:
    asked, read = [], fetching.read_range
    monkeypatch.setattr(fetching, "read_range", lambda uri, *part: asked.append(uri) or read(uri, *part))
    write_bytes(f"{uploaded}/{key}", read_bytes(f"{uploaded}/{key}").replace(old.encode(), new.encode()))
    with pytest.raises(TeacherError, match=message):
        load_teacher(uploaded)
    assert asked[0] == f"{uploaded}/model_index.json"
    assert not any(uri.endswith(".safetensors") for uri in asked)


def test_pickles_are_named_and_converted_on_demand(
    s3_root: str, teacher_folder: FolderMaker, cache: Path, tmp_path: Path, cli: Cli
) -> None:
    folder = teacher_folder()
    expected = load_teacher(str(folder)).fingerprint
    pickled(folder)
    upload(folder, f"{s3_root}/old")
    with pytest.raises(TeacherError, match=r"got only pickle files .* in s3://.*/old/unet, .*advkd teacher convert"):
        load_teacher(f"{s3_root}/old")
    assert list(cache.glob("*")) == []
    result = cli("teacher", "convert", f"{s3_root}/old", "--out", f"{s3_root}/new")
    assert result.uri == f"{s3_root}/new", result
    assert load_teacher(f"{s3_root}/new").fingerprint == expected


def test_what_is_no_teacher_is_told_with_its_uri(uploaded: str, s3_root: str, cache: Path) -> None:
    delete(f"{uploaded}/{WEIGHTS}")
    with pytest.raises(TeacherError, match=r"a teacher needs weights, got no .* in s3://.*/Tiny One/unet"):
        load_teacher(uploaded)
    with pytest.raises(TeacherError, match=r"a teacher must be a diffusers pipeline folder, got no model_index.json"):
        load_teacher(f"{s3_root}/nothing")
    assert list(cache.glob("*")) == []


def test_credentials_have_no_place_in_a_uri() -> None:
    with pytest.raises(ValueError, match="must not hold credentials") as caught:
        load_teacher("s3://key:hidden@bucket/teacher")
    assert "hidden" not in str(caught.value)


def test_a_cache_that_cannot_be_written_says_so(uploaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"the cache of teachers must be writable, got .*; free some space, or set"):
        load_teacher(uploaded)


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert split_pin("a#sha256=" + "0" * 64) == ("a", "0" * 64)
    assert split_pin("a#b") == ("a#b", None)
    assert hub_id("org/name") == HubId("org/name", None)
    assert hub_id("org/name@v1.0") == HubId("org/name", "v1.0")
    assert hub_repository("org/name@v1.0#guidance=4#sha256=" + 64 * "a") == "org/name"
    assert [hub_repository(source) for source in ("digits", "./org/name", "s3://org/name")] == [""] * 3
    assert [hub_id(place) for place in ("name", "org/name@", "./org/name", "s3://org/name", "a/b/c")] == [None] * 5
    assert teacher_name("org/name@v1") == "org/name"
    assert teacher_name("s3://bucket/teachers/new/") == "new"
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert hub_id("org/name") is None
