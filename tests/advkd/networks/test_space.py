from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from advkd.diffusion import Pixels, Space, decoded, space_of
from advkd.features import BATCH, state_features
from advkd.networks import AUTOENCODERS, AutoencoderSpace, NetworkError, autoencoder_bytes, copy_autoencoder
from tests.advkd.teachers.latents import tiny_dc, tiny_kl, tiny_taesd, tiny_vq

SHAPE = (4, 8, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks") / "vae"
    tiny_kl(shift_factor=0.25).save_pretrained(folder)
    return folder


@pytest.fixture
def space(folder: Path) -> AutoencoderSpace:
    return AutoencoderSpace.of(folder, SHAPE)


def latents(count: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("make", "channels"), [(tiny_kl, 4), (tiny_vq, 3), (tiny_taesd, 3), (tiny_dc, 4)])
def test_the_shape_of_images_is_that_of_what_is_decoded(make: Any, channels: int, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "vae")
    shape = (channels, 6, 10)
    space = AutoencoderSpace.of(tmp_path / "vae", shape)
    assert space.decode(latents(2, shape)).shape == (2, *space.image_shape) == (2, 3, 12, 20)
    assert set(AUTOENCODERS) == {"AutoencoderKL", "VQModel", "AutoencoderTiny", "AutoencoderDC"}


def test_scale_and_shift_are_undone_before_decoding(space: AutoencoderSpace, folder: Path) -> None:
    with torch.no_grad():
        expected = AutoencoderKL.from_pretrained(folder).decode(latents(3) / 0.18 + 0.25).sample
    found = space.decode(latents(3).requires_grad_())
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_it_is_built_again_from_json_and_decodes_where_its_files_are_found(
    space: AutoencoderSpace, folder: Path, tmp_path: Path
) -> None:
    again = space_of(space.facts, SHAPE, [str(tmp_path / "nowhere"), str(folder)])
    assert isinstance(again, AutoencoderSpace)
    assert (again.folder, again.facts, again.image_shape) == (folder, space.facts, (3, 16, 16))
    torch.testing.assert_close(again.decode(latents(2)), space.decode(latents(2)), rtol=0, atol=0)
    blind = space_of(space.facts, SHAPE)
    with pytest.raises(NetworkError, match=r"class AutoencoderKL that .*, got none for sha256 .*; say where"):
        blind.decode(latents(1))
    with pytest.raises(NetworkError, match=r"got it in none of \['.*nowhere'\]; copy the teacher's vae"):
        space_of(space.facts, SHAPE, [str(tmp_path / "nowhere")])


@pytest.mark.parametrize(
    "changes", [{"class": "AutoencoderOobleck"}, {"scaling_factor": 0}, {"image_shape": [3]}, {"sha256": None}]
)
def test_facts_that_say_too_little_are_refused(space: AutoencoderSpace, changes: dict[str, Any]) -> None:
    facts = {key: value for key, value in {**space.facts, **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=r"latents must .*; precompute the store again"):
        space_of(facts, SHAPE)


def test_however_many_states_there_are_only_so_many_pixels_are_decoded_at_a_time(
    space: AutoencoderSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = space.decode(latents(7))
    sizes: list[int] = []
    decode = space._network.decode

    def counting(part: torch.Tensor) -> Any:
        sizes.append(len(part))
        return decode(part)

    monkeypatch.setattr(space._network, "decode", counting)
    monkeypatch.setattr("advkd.networks.space._PIXELS_AT_ONCE", 3 * 16 * 16)
    torch.testing.assert_close(space.decode(latents(7)), whole, rtol=0, atol=1e-5)
    assert sizes == [3, 3, 1]


def test_an_extractor_never_holds_more_images_than_it_looks_at(space: AutoencoderSpace) -> None:
    seen: list[int] = []

    class Means:
        name, sha256, dims = "means", "0" * 64, 3

        def accepts(self, shape: Any) -> bool:
            return True

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(len(images))
            return images.mean((-2, -1))

    count = BATCH + 5
    found = state_features(Means(), space, latents(count), "cpu")
    assert seen == [BATCH, 5]
    torch.testing.assert_close(found, space.decode(latents(count)).mean((-2, -1)), rtol=0, atol=1e-5)


def test_pixels_are_their_own_images() -> None:
    space: Space = Pixels(SHAPE)
    states = latents(2)
    assert decoded(space, states) is states


def test_weights_in_shards_decode_and_are_copied(tmp_path: Path) -> None:
    whole, sharded, copied = (tmp_path / name for name in ("whole", "sharded", "copied"))
    tiny_kl().save_pretrained(whole)
    tiny_kl().save_pretrained(sharded, max_shard_size="20KB")
    shards = sorted(sharded.glob("*-of-*.safetensors"))
    assert len(shards) > 1
    ours, theirs = AutoencoderSpace.of(sharded, SHAPE), AutoencoderSpace.of(whole, SHAPE)
    torch.testing.assert_close(ours.decode(latents(2)), theirs.decode(latents(2)), rtol=0, atol=0)
    copy_autoencoder(sharded, copied)
    again = AutoencoderSpace.of(copied, SHAPE)
    assert again.facts == ours.facts
    torch.testing.assert_close(again.decode(latents(2)), theirs.decode(latents(2)), rtol=0, atol=0)
    assert autoencoder_bytes(copied) > sum(shard.stat().st_size for shard in shards)
    shards[0].unlink()
    with pytest.raises(NetworkError, match=rf"all {len(shards)} shards of an autoencoder's weights .*got none of"):
        AutoencoderSpace.of(sharded, SHAPE)


@pytest.mark.parametrize(("make", "channels"), [(tiny_kl, 4), (tiny_vq, 3), (tiny_taesd, 3), (tiny_dc, 4)])
def test_encoding_gives_states_that_are_decoded_as_the_autoencoder_does(
    make: Any, channels: int, tmp_path: Path
) -> None:
    autoencoder = make().eval()
    autoencoder.save_pretrained(tmp_path / "vae")
    space = AutoencoderSpace.of(tmp_path / "vae", (channels, 6, 10))
    images = torch.rand(3, 3, 12, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    states = space.encode(images)
    assert states.shape == (3, channels, 6, 10)
    with torch.no_grad():
        encoded = autoencoder.encode(images)
        # The tiny one's own round trip rounds to whole numbers; of a posterior, diffusers' takes the mean too.
        rounds = isinstance(autoencoder, AutoencoderTiny)
        expected = (autoencoder.decode(encoded.latents) if rounds else autoencoder(images)).sample
    torch.testing.assert_close(space.decode(states), expected, rtol=0, atol=1e-4)


def test_shift_and_scale_are_applied_after_encoding(space: AutoencoderSpace, folder: Path) -> None:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        mean = AutoencoderKL.from_pretrained(folder).encode(images).latent_dist.mean
    torch.testing.assert_close(space.encode(images), (mean - 0.25) * 0.18, rtol=0, atol=1e-6)
