"""The teacher's own features: a function of the state, for every family, and no others than are stated."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

import advkd.features.teacher as own
from advkd.diffusion import Start
from advkd.features import Asked, FeatureError, TeacherExtractor, chosen_features, state_features
from advkd.features.blocks import feature_blocks, pooled
from advkd.features.teacher import LEVELS, MOST_DIMS, teacher_extractor
from advkd.teachers import NetworkTeacher, SolverSpec, in_precision, load_teacher
from tests.advkd.conftest import FolderMaker, tiny_unet
from tests.advkd.teachers.latents import dit_folder, ldm_folder
from tests.advkd.teachers.text_folders import (
    flux_folder,
    prompt_file,
    sana_folder,
    stable_diffusion_3_folder,
    stable_diffusion_folder,
)


def extractor_of(source: object) -> TeacherExtractor:
    return teacher_extractor(Asked(teacher=load_teacher(str(source))))


def states(extractor: TeacherExtractor, count: int = 5) -> torch.Tensor:
    return torch.randn(count, *extractor._space.shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def unet(teacher_folder: FolderMaker) -> TeacherExtractor:
    return extractor_of(teacher_folder("tiny"))


def test_they_are_those_of_the_network_at_the_stated_blocks_and_levels(unet: TeacherExtractor) -> None:
    teacher, clean = unet._whole, states(unet)
    assert isinstance(teacher, NetworkTeacher)
    schedule, network = DDPMScheduler(**{"clip_sample": False}), teacher.network
    assert unet.blocks == ("down_blocks.1", "mid_block", "up_blocks.1")
    outputs: list[Any] = []
    for block in (network.down_blocks[1], network.mid_block, network.up_blocks[1]):
        block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    noise = torch.from_numpy(own.initial_noise(own.NOISE_SEED, 0, 1, clean.shape[1:])).expand_as(clean)
    expected = []
    for level in LEVELS:
        alphas = schedule.alphas_cumprod
        nearest = ((1 / alphas - 1).sqrt() - level).abs()[1:].argmin() + 1
        outputs.clear()
        with torch.no_grad():
            network(schedule.add_noise(clean, noise, nearest.expand(len(clean))), nearest)
        for output in (outputs[0][0], *outputs[1:]):
            image = output.double()
            image = image / image.square().mean(1, keepdim=True).sqrt()
            expected += [image.mean((2, 3)), image.std((2, 3), correction=0)]
    torch.testing.assert_close(unet.of_states(clean).double(), torch.cat(expected, 1), rtol=0, atol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "make",
    [
        lambda root: ldm_folder(root / "ldm"),
        lambda root: f"{ldm_folder(root / 'classes', num_class_embeds=4)}#null=3",
        lambda root: dit_folder(root / "dit"),
        lambda root: f"{stable_diffusion_folder(root / 'sd')}#prompts={prompt_file(root)}",
        lambda root: f"{stable_diffusion_3_folder(root / 'sd3')}#prompts={prompt_file(root)}",
        lambda root: f"{flux_folder(root / 'flux')}#prompts={prompt_file(root)}",
        lambda root: f"{sana_folder(root / 'sana')}#prompts={prompt_file(root)}",
    ],
    ids=["ldm", "classes", "dit", "stable-diffusion", "stable-diffusion-3", "flux", "sana"],
)
def test_every_family_has_some_and_they_are_a_function_of_the_state(make: Any, tmp_path: Path) -> None:
    source = make(tmp_path)
    extractor, again = extractor_of(source), extractor_of(source)
    given = states(extractor)
    features = extractor.of_states(given)
    assert features.shape == (5, extractor.dims)
    assert 0 < extractor.dims <= MOST_DIMS
    assert features.dtype == torch.float32
    assert bool(torch.isfinite(features).all())
    assert float(features.std(0).max()) > 1e-4
    assert again.sha256 == extractor.sha256
    torch.testing.assert_close(again.of_states(given.flip(0)).flip(0), features, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.cat([again.of_states(row[None]) for row in given]), features, rtol=0, atol=1e-5)
    teacher = extractor._whole
    torch.testing.assert_close(state_features(extractor, teacher.space, given, "cpu"), features, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("plain", "options"),
    [("{dit}", "#guidance=4"), ("{classes}#null=3", "&guidance=4")],
    ids=["dit", "classes"],
)
def test_guidance_changes_none(plain: str, options: str, tmp_path: Path) -> None:
    made = {"dit": dit_folder(tmp_path / "dit"), "classes": ldm_folder(tmp_path / "ldm", num_class_embeds=4)}
    source = plain.format(**made)
    without, guided = extractor_of(source), extractor_of(source + options)
    assert guided.sha256 == without.sha256
    torch.testing.assert_close(guided.of_states(states(guided)), without.of_states(states(without)), rtol=0, atol=0)


def test_what_stands_for_none_is_part_of_what_they_are(tmp_path: Path) -> None:
    folder = ldm_folder(tmp_path / "ldm", num_class_embeds=4)
    zero, none = extractor_of(folder), extractor_of(f"{folder}#null=3")
    assert (zero.condition, none.condition) == ("class 0", "class 3, which stands for none")
    assert zero.sha256 != none.sha256
    assert not torch.equal(zero.of_states(states(zero)), none.of_states(states(none)))


def test_images_of_a_teacher_of_latents_are_encoded_by_its_own_autoencoder(tmp_path: Path) -> None:
    extractor = extractor_of(dit_folder(tmp_path / "dit"))
    images = torch.rand(3, *extractor._whole.space.image_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    autoencoder = extractor._space._network
    with torch.no_grad():
        latents = autoencoder.encode(images).latent_dist.mean * autoencoder.config.scaling_factor
    torch.testing.assert_close(extractor(images), extractor.of_states(latents), rtol=0, atol=1e-5)
    assert not extractor.accepts((1, 16, 16))


def test_a_space_that_only_decodes_is_refused_by_name(tmp_path: Path) -> None:
    extractor = extractor_of(dit_folder(tmp_path / "dit"))

    class Decoding:
        shape, image_shape = extractor._space.shape, extractor._space.image_shape

    extractor._space = Decoding()
    with pytest.raises(FeatureError, match="encodes images for a teacher of latents, got a space of 'dit' that only"):
        extractor(torch.zeros(1, 3, 16, 16))


def test_everything_that_is_stated_is_in_the_sha256(
    teacher_folder: FolderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advkd.teachers.precision.require_computes", lambda device, precision: None)
    folder = str(teacher_folder("tiny"))
    seen = {extractor_of(folder).sha256, extractor_of(teacher_folder("other", unet=tiny_unet(1))).sha256}
    rounded = in_precision(load_teacher(folder), "bfloat16", "cpu")
    (extractor,) = chosen_features("teacher", rounded)
    seen.add(extractor.sha256)
    assert bool(torch.isfinite(extractor(torch.zeros(2, 1, 8, 8))).all())
    for name, value in (("LEVELS", (0.1,)), ("NOISE_SEED", 7), ("PROJECTION_SEED", 7), ("MOST_DIMS", 8)):
        with monkeypatch.context() as patch:
            patch.setattr(own, name, value)
            seen.add(extractor_of(folder).sha256)
    assert len(seen) == 7


def test_long_features_are_projected_so_that_distances_stay_about_as_they_are() -> None:
    points = torch.randn(20, 4000, generator=torch.Generator().manual_seed(0))
    kept = own._projected(points)
    assert kept.shape == (20, MOST_DIMS)
    ratio = torch.pdist(kept) / torch.pdist(points)
    assert 0.85 < ratio.min() < ratio.max() < 1.15


def test_passes_of_other_threads_are_not_read(unet: TeacherExtractor, monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Thread

    given = states(unet)
    alone = unet.of_states(given)
    predict = unet._teacher.predict

    def disturbed(state: torch.Tensor, *others: Any) -> torch.Tensor:
        output = predict(state, *others)
        thread = Thread(target=lambda: predict(torch.zeros_like(state), *others))
        thread.start()
        thread.join()
        return output

    monkeypatch.setattr(unet._teacher, "predict", disturbed)
    torch.testing.assert_close(unet.of_states(given), alone, rtol=0, atol=0)


def test_a_network_is_watched_once(unet: TeacherExtractor) -> None:
    for extractor in (unet, teacher_extractor(Asked(teacher=unet._whole))):
        extractor.of_states(states(extractor))
    assert all(len(module._forward_hooks) == 1 for module in unet._modules)


def test_weights_of_another_are_refused(teacher_folder: FolderMaker) -> None:
    teacher = load_teacher(str(teacher_folder("tiny")))
    with pytest.raises(FeatureError, match=r"has the teacher's own weights, got 'a\.pth' besides; leave them out"):
        chosen_features("teacher", teacher, weights="a.pth")


def test_blocks_of_other_networks_lie_in_their_longest_list() -> None:
    network = torch.nn.Module()
    network.few = torch.nn.ModuleList([torch.nn.Identity()] * 2)
    network.many = torch.nn.ModuleList([torch.nn.Identity() for _ in range(12)])
    assert list(feature_blocks(network)) == ["many.6", "many.9"]
    assert feature_blocks(network)["many.9"] is network.many[9]
    assert feature_blocks(torch.nn.Linear(1, 1)) == {}


def test_pooling_is_blind_to_order_and_scale_and_the_same_for_images_and_tokens() -> None:
    images = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0))
    tokens = images.flatten(2).mT
    assert pooled(images).shape == (2, 12)
    torch.testing.assert_close(pooled(tokens), pooled(images), rtol=0, atol=1e-6)
    torch.testing.assert_close(pooled(tokens.flip(1) * 3), pooled(images), rtol=0, atol=1e-5)


def test_passes_of_other_threads_neither_disturb_it_nor_are_disturbed() -> None:
    """A flow computes several pieces of a reference with one network."""
    teacher = load_teacher("digits")
    (extractor,) = chosen_features("teacher", teacher)
    states = torch.randn(8, *teacher.space.shape, generator=torch.Generator().manual_seed(0))
    expected, ended = extractor(states), threading.Event()

    def sample() -> int:
        passes = 0
        while not ended.is_set():
            for _ in teacher.states(Start(states), SolverSpec(steps=1), (999, 0)):
                passes += 1
        return passes

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(sample) for _ in range(2)]
        try:
            for _ in range(5):
                torch.testing.assert_close(extractor(states), expected, rtol=1e-4, atol=1e-4)
        finally:
            ended.set()
        assert all(other.result() > 0 for other in others)
