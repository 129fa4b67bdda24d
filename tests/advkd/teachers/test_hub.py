"""Teachers of the hub, from a server with its interface: what is asked for, in which order, and what is cached."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from advkd.teachers import TeacherError, convert_teacher, load_teacher
from advkd.teachers.errors import TeacherUnreachableError
from tests.advkd.conftest import FolderMaker, tiny_unet
from tests.advkd.teachers.folders import as_root, as_variants, pickled
from tests.advkd.teachers.hub_server import HubServer, serve_hub

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
PLAIN = {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json", WEIGHTS}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serve_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield server


@pytest.fixture
def repository(hub: HubServer, teacher_folder: FolderMaker) -> Path:
    folder = teacher_folder("upstream")
    hub.repositories["org/tiny"] = folder
    return folder


def test_only_what_is_needed_is_fetched_and_the_index_first(hub: HubServer, repository: Path) -> None:
    as_variants(repository, "fp16", "bf16", "non_ema", keep=True)
    for name in ("unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors", "unet/code.py", "README.md"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_bytes(b"not to be fetched")
    teacher = load_teacher("org/tiny@v1")
    assert teacher.name == "org-tiny"
    assert teacher.fingerprint == load_teacher(str(repository)).fingerprint
    assert set(hub.fetched) == PLAIN
    assert (hub.fetched[0], hub.fetched[-1]) == ("model_index.json", WEIGHTS)
    assert len(hub.fetched) == len(PLAIN)


def test_what_is_cached_is_not_fetched_again_and_serves_without_the_hub(
    hub: HubServer, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = load_teacher("org/tiny").fingerprint
    fetched = len(hub.fetched)
    assert load_teacher("org/tiny").fingerprint == fingerprint
    assert len(hub.fetched) == fetched
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_teacher("org/tiny").fingerprint == fingerprint


def test_a_part_in_the_cache_is_no_teacher_without_the_hub(
    hub: HubServer, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_teacher("org/tiny")
    for path in (tmp_path / "hub").rglob("diffusion_pytorch_model.safetensors"):
        path.unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TeacherUnreachableError, match=r"reachable or cached whole, got 'org/tiny', of which .* a part"):
        load_teacher("org/tiny")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert load_teacher("org/tiny").name == "org-tiny"


@pytest.mark.parametrize("layout", ["root", "bf16", "sharded"])
def test_other_layouts_are_fetched_as_far_as_needed(
    hub: HubServer, repository: Path, layout: str, teacher_folder: FolderMaker
) -> None:
    if layout == "root":
        as_root(repository)
        (repository / "v1-pruned.safetensors").write_bytes(b"not to be fetched")
    elif layout == "bf16":
        as_variants(repository, "bf16")
    else:
        shutil.rmtree(repository / "unet")
        tiny_unet().save_pretrained(repository / "unet", max_shard_size="10KB")
    assert load_teacher("org/tiny").fingerprint == load_teacher(str(repository)).fingerprint
    assert set(hub.fetched) <= {path.relative_to(repository).as_posix() for path in repository.rglob("*")}
    assert "v1-pruned.safetensors" not in hub.fetched


def test_what_is_not_supported_is_refused_by_name_before_its_weights_come(hub: HubServer, repository: Path) -> None:
    index = repository / "model_index.json"
    text = index.read_text()
    index.write_text(text.replace("DDPMPipeline", "KandinskyPipeline"))
    with pytest.raises(TeacherError, match=r"must be one of .* got 'KandinskyPipeline' in org/tiny;"):
        load_teacher("org/tiny")
    assert hub.fetched == ["model_index.json"]


def test_configs_that_rule_a_teacher_out_do_so_before_its_weights_come(hub: HubServer, repository: Path) -> None:
    config = repository / "unet" / "config.json"
    config.write_text(config.read_text().replace('"class_embed_type": null', '"class_embed_type": "timestep"'))
    with pytest.raises(TeacherError, match=r"must embed the numbers of its classes .* in org/tiny;"):
        load_teacher("org/tiny")
    assert set(hub.fetched) == PLAIN - {WEIGHTS}


@pytest.mark.thorough
def test_pickles_are_named_not_fetched_and_converted_on_demand(
    hub: HubServer, repository: Path, tmp_path: Path
) -> None:
    expected = load_teacher(str(repository)).fingerprint
    pickled(repository)
    with pytest.raises(
        TeacherError, match=r"only pickle files \['.*\.bin'\] in org/tiny/unet, .*advkd teacher convert"
    ):
        load_teacher("org/tiny")
    assert not any(name.endswith(".bin") for name in hub.fetched)
    convert_teacher("org/tiny", tmp_path / "out")
    assert load_teacher(str(tmp_path / "out")).fingerprint == expected


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("org/gated", "which is gated: accept its terms on the hub"),
        ("org/nothing", "which the hub does not have"),
        ("org/tiny@other", "of which the hub has no such revision"),
    ],
)
def test_what_the_hub_refuses_is_told_by_its_reason(hub: HubServer, repository: Path, place: str, reason: str) -> None:
    hub.gated.add("org/gated")
    hub.repositories["org/gated"] = repository
    with pytest.raises(TeacherUnreachableError, match=f"one that you may read, got '{place}', {reason}"):
        load_teacher(place)


def test_a_token_that_has_expired_is_told(hub: HubServer, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired-MARKED")
    with pytest.raises(TeacherUnreachableError, match=r"refuses your token, which may have expired; log in") as refused:
        load_teacher("org/tiny")
    assert "MARKED" not in str(refused.value)


def test_a_repository_without_a_pipeline_says_what_it_is(hub: HubServer, repository: Path) -> None:
    as_root(repository)
    (repository / "model_index.json").unlink()
    with pytest.raises(TeacherError, match=r"no model_index\.json at org/tiny/model_index\.json, but one network; "):
        load_teacher("org/tiny")


def test_the_size_is_said_before_anything_large_comes(
    hub: HubServer, repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "advkd"):
        load_teacher("org/tiny")
    said = [record.getMessage() for record in caplog.records if record.name == "advkd.files.telling"]
    assert len(said) == 1
    assert said[0].startswith("fetching 1 file (")
    assert said[0].endswith("KiB) of org/tiny")
