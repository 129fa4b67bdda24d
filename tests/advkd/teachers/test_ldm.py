import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, LDMPipeline

from advkd.diffusion import Start
from advkd.teachers import NetworkTeacher, SolverSpec, TeacherError, check_folder, folder_fingerprint, load_teacher
from storage import write_bytes
from tests.advkd.teachers.latents import dit_folder, ldm_folder, tiny_kl, tiny_latent_unet, tiny_taesd, tiny_vq


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ldm_folder(tmp_path_factory.mktemp("ldm") / "faces")


@pytest.fixture
def own_folder(folder: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(folder, tmp_path / "faces"))


@pytest.mark.parametrize("autoencoder", [tiny_vq, tiny_kl, tiny_taesd])
def test_states_and_images_are_those_of_diffusers_own_loop(autoencoder: object, tmp_path: Path) -> None:
    folder = ldm_folder(tmp_path / "ldm", autoencoder())  # type: ignore[operator]
    teacher = load_teacher(str(folder))
    pipe = LDMPipeline.from_pretrained(folder)
    pipe.scheduler = DDIMScheduler.from_config(
        pipe.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True
    )
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(3, *teacher.space.shape, generator=torch.Generator().manual_seed(1))
    solver = SolverSpec(steps=4)
    states = list(teacher.states(Start(noise), solver, teacher.grid(solver).labels))

    # The layout that teachers compute in; with another one convolutions add up in another order.
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.scheduler.set_timesteps(4)
    expected = noise.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for state, time in zip(states, pipe.scheduler.timesteps, strict=False):
            torch.testing.assert_close(state, expected, rtol=0, atol=0)
            expected = pipe.scheduler.step(pipe.unet(expected, time).sample, time, expected).prev_sample
    torch.testing.assert_close(states[-1], expected, rtol=0, atol=0)
    # And from the pipeline's own call on the same noise, which it draws by itself.
    own = pipe(batch_size=3, generator=torch.Generator().manual_seed(1), num_inference_steps=4, output_type="np")
    images = (teacher.space.decode(states[-1]) / 2 + 0.5).clamp(0, 1)
    assert images.shape == (3, *teacher.space.image_shape) == (3, 3, 16, 16)
    torch.testing.assert_close(images, torch.from_numpy(own.images).permute(0, 3, 1, 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("groups", [8, 4])
def test_its_memory_format_follows_from_the_channels_of_a_group(groups: int, tmp_path: Path) -> None:
    unet = tiny_latent_unet(norm_num_groups=groups)
    LDMPipeline(tiny_vq(), unet, DDIMScheduler(clip_sample=False)).save_pretrained(tmp_path / "ldm")
    DDPMPipeline(unet, DDIMScheduler(clip_sample=False)).save_pretrained(tmp_path / "pixels")
    layout = torch.contiguous_format if groups == 8 else torch.channels_last
    unet.eval().to(memory_format=layout)
    noise, solver = torch.randn(3, 3, 8, 8), SolverSpec(steps=2)
    expected = noise.contiguous(memory_format=layout)
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(2)
    with torch.no_grad():
        for time in scheduler.timesteps:
            expected = scheduler.step(unet(expected, time).sample, time, expected).prev_sample
    for name in ("ldm", "pixels"):
        teacher = load_teacher(str(tmp_path / name))
        assert isinstance(teacher, NetworkTeacher)
        assert teacher.network.conv_in.weight.is_contiguous(memory_format=layout)  # type: ignore[attr-defined]
        *_, clean = teacher.states(Start(noise), solver, teacher.grid(solver).labels)
        assert clean.is_contiguous(memory_format=layout)
        torch.testing.assert_close(clean, expected, rtol=0, atol=0)


def test_its_space_names_the_autoencoder_by_content(folder: Path, tmp_path: Path) -> None:
    facts = load_teacher(str(folder)).space.facts
    assert facts == json.loads(json.dumps(facts))
    assert {key: value for key, value in facts.items() if key != "sha256"} == {
        "kind": "autoencoder",
        "class": "VQModel",
        "scaling_factor": 0.5,
        "shift_factor": 0.0,
        "image_shape": [3, 16, 16],
    }
    # Neither the place nor what diffusers notes in a config counts, but every weight does.
    again = load_teacher(str(ldm_folder(tmp_path / "again"))).space.facts
    other = load_teacher(str(ldm_folder(tmp_path / "other", tiny_vq(seed=1)))).space.facts
    assert again == facts
    assert other["sha256"] != facts["sha256"]
    assert folder_fingerprint(tmp_path / "other") != folder_fingerprint(folder)


def lose_the_folder(folder: Path) -> None:
    shutil.rmtree(folder / "vqvae")


def pickle_the_weights(folder: Path) -> None:
    weights = folder / "vqvae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def lose_the_scaling(folder: Path) -> None:
    change(folder / "vqvae" / "config.json", scaling_factor=None)


def name_another_class(folder: Path) -> None:
    change(folder / "vqvae" / "config.json", _class_name="AutoencoderOobleck")


def take_another_class(folder: Path) -> None:
    change(folder / "model_index.json", vqvae=["diffusers", "AutoencoderOobleck"])


def change(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


DAMAGES = {
    "no folder": (lose_the_folder, r"got no config\.json at .*vqvae"),
    "pickled": (pickle_the_weights, "must be safetensors, got only pickle files .*; make a safetensors copy"),
    "no scaling": (lose_the_scaling, "must say its scaling_factor, got None in .*; write the one there"),
    "another class": (name_another_class, "must be of the class that the pipeline names, got 'AutoencoderOobleck'"),
    "a class of no row": (
        take_another_class,
        "vqvae of a LDMPipeline must be a diffusers AutoencoderDC or AutoencoderKL or VQModel",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_does_not_fit_is_refused_before_anything_is_loaded(damage: str, own_folder: Path) -> None:
    breaks, message = DAMAGES[damage]
    breaks(own_folder)
    for use in (check_folder, lambda folder: load_teacher(str(folder))):
        with pytest.raises(TeacherError, match=message):
            use(own_folder)


def test_an_autoencoder_of_other_latents_is_refused(own_folder: Path) -> None:
    tiny_kl().save_pretrained(own_folder / "vqvae")
    change(own_folder / "model_index.json", vqvae=["diffusers", "AutoencoderKL"])
    with pytest.raises(TeacherError, match="must decode the teacher's states, got latent_channels 4"):
        load_teacher(str(own_folder))


def test_weights_that_do_not_fit_are_refused_before_anything_is_computed(own_folder: Path) -> None:
    change(own_folder / "vqvae" / "config.json", mid_block_add_attention=False)
    with pytest.raises(TeacherError, match=r"weights must fit its config, got .* in .*vqvae"):
        load_teacher(str(own_folder))


def upload(folder: Path, uri: str) -> str:
    for file in (path for path in folder.rglob("*") if path.is_file()):
        write_bytes(f"{uri}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return uri


def test_all_its_parts_come_from_an_object_store(
    folder: Path, s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    for place, name in ((folder, "ldm"), (dit_folder(tmp_path / "dit"), "dit")):
        uri = upload(place, f"{s3_root}/{name}")
        fetched, local = load_teacher(uri), load_teacher(str(place))
        assert fetched.fingerprint == local.fingerprint
        assert fetched.space.facts == local.space.facts


def test_a_config_that_rules_it_out_does_so_before_weights_come(
    own_folder: Path, s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    lose_the_scaling(own_folder)
    for weights in own_folder.rglob("*.safetensors"):
        weights.write_bytes(b"never read")
    with pytest.raises(TeacherError, match=r"must say its scaling_factor, got None in s3://.*vqvae"):
        load_teacher(upload(own_folder, f"{s3_root}/ruled-out"))


def test_a_latent_unet_with_classes_is_given_them(tmp_path: Path) -> None:
    folder = ldm_folder(tmp_path / "classes", num_class_embeds=4)
    teacher, guided = load_teacher(str(folder)), load_teacher(f"{folder}#guidance=3&null=3")
    assert (teacher.conditions.facts or {})["classes"] == 4
    assert (guided.conditions.facts or {})["classes"] == 3
    noise, solver = torch.ones(2, *teacher.space.shape), SolverSpec(steps=2)
    start = Start(noise, {"class_labels": torch.tensor([0, 2])})
    plain, steered = ([*each.states(start, solver, each.grid(solver).labels)][-1] for each in (teacher, guided))
    assert not torch.equal(plain[0], plain[1])
    assert not torch.allclose(plain, steered, atol=1e-3)
