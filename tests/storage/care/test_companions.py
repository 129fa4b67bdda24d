"""Autoencoders and embeddings: they go along to another root, and are collected once no store names them."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from storage import TrajectorySpec, delete, store_uri, write_bytes
from storage.care import (
    convert,
    decoder_uri,
    embeddings_uri,
    find_garbage,
    is_kept,
    remove_garbage,
    remove_store,
    store_contents,
)
from storage.care.garbage import UNUSED_COMPANION
from storage.folders import publish_folder
from storage.objects import list_prefix, local_folder
from storage.records import manifest_uri
from storage.testing.trajectories import fill, make_spec
from storage.writing import CLAIMS, folder_claim
from tests.storage.conftest import EVERYWHERE

pytestmark = pytest.mark.timeout(300)
SHA, OTHER = "a" * 64, "b" * 64
FILES = {"config.json": b"{}", "weights.safetensors": bytes(100)}
DAY = 86_400.0


@pytest.fixture
def latents() -> TrajectorySpec:
    return make_spec(space={"kind": "autoencoder", "sha256": SHA})


def keep(root: str, sha256: str, tmp_path: Path) -> str:
    """Puts an autoencoder there as `keep_decoder` does."""
    return put(decoder_uri(root, sha256), tmp_path / f"new-{sha256[:4]}")


def put(uri: str, scratch: Path) -> str:
    """Puts a folder there."""
    folder = local_folder(uri) or scratch
    folder.mkdir(parents=True)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    if local_folder(uri) is None:
        publish_folder(folder, uri)
    assert is_kept(uri)
    return uri


def collect(root: str, older_than: float = 0.0, after: float = 5.0) -> list[str]:
    """Kinds of what `advkd cache gc` removes."""
    found = find_garbage(root, older_than, now=time.time() + after)
    return [item.kind for store in found for item in remove_garbage(store)]


@EVERYWHERE
def test_gc_takes_what_no_store_names(root: str, latents: TrajectorySpec, tmp_path: Path) -> None:
    fill(root, latents, 8)
    fill(root, replace(latents, base_seed=9), 8)
    named, unused = keep(root, SHA, tmp_path), keep(root, OTHER, tmp_path)
    assert set(collect(root)) == {UNUSED_COMPANION}
    assert (is_kept(named), is_kept(unused)) == (True, False)
    assert not [key for key in list_prefix(root) if OTHER in key]
    assert collect(root) == []
    # Removing a store leaves it, while another one names it and after.
    for seed in (latents.base_seed, 9):
        assert collect(root) == []
        remove_store(store_contents(store_uri(root, replace(latents, base_seed=seed))))
        assert is_kept(named)
    assert set(collect(root)) == {UNUSED_COMPANION}
    assert not is_kept(named)


def test_a_young_one_stays(tmp_path: Path) -> None:
    unused = keep(str(tmp_path), SHA, tmp_path)
    assert collect(str(tmp_path), DAY) == []
    assert collect(str(tmp_path), DAY, after=2 * DAY) == [UNUSED_COMPANION] * len(FILES)
    assert not is_kept(unused)


def test_a_growing_store_names_its_own(tmp_path: Path, latents: TrajectorySpec) -> None:
    root = str(tmp_path)
    fill(root, latents, 8)
    delete(manifest_uri(store_uri(root, latents)))
    kept = keep(root, SHA, tmp_path)
    assert UNUSED_COMPANION not in collect(root)
    assert is_kept(kept)


def test_an_unreadable_store_may_name_any(tmp_path: Path, latents: TrajectorySpec) -> None:
    root = str(tmp_path)
    fill(root, latents, 8)
    write_bytes(manifest_uri(store_uri(root, latents)), b"{")
    unused = keep(root, OTHER, tmp_path)
    assert UNUSED_COMPANION not in collect(root)
    assert is_kept(unused)


def test_one_that_is_being_written_stays(tmp_path: Path) -> None:
    unused = keep(str(tmp_path), SHA, tmp_path)
    claim = folder_claim(unused)
    assert CLAIMS.take(claim) is None
    try:
        assert UNUSED_COMPANION not in collect(str(tmp_path), DAY, after=2 * DAY)
    finally:
        CLAIMS.release(claim)


def test_one_that_a_store_has_come_to_name_stays(tmp_path: Path, latents: TrajectorySpec) -> None:
    root = str(tmp_path)
    kept = keep(root, SHA, tmp_path)
    (found,) = [store for store in find_garbage(root, 0, now=time.time() + 5) if store.uri == kept]
    fill(root, latents, 8)
    assert remove_garbage(found) == []
    assert is_kept(kept)


@EVERYWHERE
def test_convert_carries_it_to_another_root(root: str, latents: TrajectorySpec, tmp_path: Path) -> None:
    fill(f"{root}/old", latents, 8)
    keep(f"{root}/old", SHA, tmp_path)
    uri = store_uri(f"{root}/old", latents)
    layout = {"zarr": "webdataset", "webdataset": "zarr"}[latents.layout]
    convert(uri, layout, f"{root}/new")
    carried = decoder_uri(f"{root}/new", SHA)
    assert is_kept(carried)
    assert set(FILES) <= set(list_prefix(carried))
    assert is_kept(decoder_uri(f"{root}/old", SHA))
    # From S3 to this machine, and again, which copies nothing.
    for _ in range(2):
        convert(uri, layout, str(tmp_path / "here"))
    folder = local_folder(decoder_uri(str(tmp_path / "here"), SHA))
    assert folder is not None
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in FILES} == FILES


def test_a_store_without_one_is_converted_without(tmp_path: Path, latents: TrajectorySpec) -> None:
    fill(str(tmp_path / "old"), latents, 8)
    uri = store_uri(str(tmp_path / "old"), latents)
    convert(uri, {"zarr": "webdataset", "webdataset": "zarr"}[latents.layout], str(tmp_path / "new"))
    assert not (tmp_path / "new" / "decoders").exists()


@EVERYWHERE
def test_embeddings_of_prompts_go_along_and_are_collected_too(root: str, tmp_path: Path) -> None:
    prompts = {"kind": "prompts", "sha256": SHA, "count": 2}
    spec = make_spec(conditioning=prompts)
    fill(f"{root}/old", spec, 8)
    named = put(embeddings_uri(f"{root}/old", prompts), tmp_path / "named")
    unused = put(embeddings_uri(f"{root}/old", {**prompts, "sha256": OTHER}), tmp_path / "unused")
    assert set(collect(f"{root}/old")) == {UNUSED_COMPANION}
    assert (is_kept(named), is_kept(unused)) == (True, False)
    convert(store_uri(f"{root}/old", spec), {"zarr": "webdataset", "webdataset": "zarr"}[spec.layout], f"{root}/new")
    assert is_kept(embeddings_uri(f"{root}/new", prompts))
