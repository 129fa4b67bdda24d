"""The clean states of a trajectory store as a set of images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from advkd.images import ImageSetError, open_images
from storage import TrajectorySpec, missing_shards, seal, store_uri
from storage.errors import StoreIncompleteError
from storage.testing.trajectories import fill, make_spec, shard_states
from storage.writing import open_writer
from tests.advkd.images.parts import SHAPE, pictures, placed


def test_its_clean_states_are_the_images_clipped(s3_root: str) -> None:
    spec, writer = make_spec(), open_writer(s3_root, make_spec())
    shards = {
        shard: shard_states(spec, shard) | {0: 1.5 * shard_states(spec, shard)[0]}
        for shard in missing_shards(s3_root, spec, 20)
    }
    for shard, states in shards.items():
        writer.write_shard(shard, states)
    seal(s3_root, spec, 20)
    images = open_images(store_uri(s3_root, spec), spec.sample_shape)
    expected = np.concatenate([states[0] for states in shards.values()])[:20].astype(spec.dtype)
    assert np.abs(expected).max() > 1.0, "nothing would have to be clipped"
    got = torch.cat(list(images.batches(7)))
    assert torch.equal(got, torch.from_numpy(expected.astype(np.float32)).clamp(-1.0, 1.0))
    assert torch.equal(images.image(13), got[13])
    assert "clean states" in images.rule


def test_another_content_is_another_set(tmp_path: Path) -> None:
    specs = [make_spec(), make_spec(base_seed=8), make_spec(layout="webdataset")]
    for spec in specs:
        fill(str(tmp_path), spec, 8)
    sets = [open_images(store_uri(str(tmp_path), spec), spec.sample_shape) for spec in specs]
    assert len({images.sha256 for images in sets}) == 3


def _latents() -> TrajectorySpec:
    facts = {"class": "AutoencoderKL", "scaling_factor": 1.0, "shift_factor": 0.0, "sha256": "0" * 64}
    return make_spec(space={"kind": "latents", "image_shape": [3, 64, 64], **facts})


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    spec, latents = make_spec(), _latents()
    for made in (spec, latents):
        fill(str(tmp_path), made, 8)
    with pytest.raises(ImageSetError, match=r"must have the shape of the teacher's images, .*; give another store"):
        open_images(store_uri(str(tmp_path), spec), (3, 64, 64))
    with pytest.raises(ImageSetError, match="must be pixels, got a store of latents"):
        open_images(store_uri(str(tmp_path), latents), (3, 64, 64))
    growing = make_spec(base_seed=9)
    open_writer(str(tmp_path), growing).write_shard(0, shard_states(growing, 0))
    with pytest.raises(StoreIncompleteError, match="can be read once it is sealed"):
        open_images(store_uri(str(tmp_path), growing), growing.sample_shape)


@pytest.mark.parametrize("content", ["{}", "[1]", "no JSON"])
def test_a_folder_of_pictures_may_have_a_file_of_that_name(tmp_path: Path, content: str) -> None:
    uri = placed(str(tmp_path), "folder", pictures())
    (Path(uri) / "spec.json").write_text(content)
    assert open_images(uri, SHAPE).count == len(pictures())
