import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DiTPipeline

from advkd.diffusion import Start
from advkd.teachers import SolverSpec, Teacher, TeacherError, check_folder, load_teacher
from tests.advkd.teachers.latents import NAMES, dit_folder, tiny_dit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dit_folder(tmp_path_factory.mktemp("dit") / "imagenet")


def states_of(teacher: Teacher, noise: torch.Tensor, classes: torch.Tensor, solver: SolverSpec) -> list[torch.Tensor]:
    seeds = None if solver.deterministic else list(range(len(noise)))
    start = Start(noise, {"class_labels": classes})
    return list(teacher.states(start, solver, teacher.grid(solver).labels, seeds))


def test_states_and_images_are_those_of_diffusers_own_loop_without_guidance(folder: Path) -> None:
    teacher = load_teacher(str(folder))
    pipe = DiTPipeline.from_pretrained(folder)
    pipe.scheduler = DDIMScheduler.from_config(
        pipe.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True
    )
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(3, *teacher.space.shape, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([2, 0, 1])
    states = states_of(teacher, noise, classes, SolverSpec(steps=4))

    pipe.scheduler.set_timesteps(4)
    # The layout that teachers compute in; with another one convolutions add up in another order.
    expected = noise.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for state, time in zip(states, pipe.scheduler.timesteps, strict=False):
            torch.testing.assert_close(state, expected, rtol=0, atol=0)
            both = pipe.transformer(expected, timestep=time.expand(3), class_labels=classes).sample
            expected = pipe.scheduler.step(both[:, :4], time, expected).prev_sample
    torch.testing.assert_close(states[-1], expected, rtol=0, atol=0)
    own = pipe(
        class_labels=classes.tolist(),
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        num_inference_steps=4,
        output_type="pt",
    )
    images = (teacher.space.decode(states[-1]) / 2 + 0.5).clamp(0, 1)
    assert images.shape == (3, 3, 16, 16)
    torch.testing.assert_close(images, own.images, rtol=0, atol=1e-4)


def test_guidance_is_that_of_the_pipeline_and_part_of_the_source(tmp_path: Path) -> None:
    # diffusers' pipeline takes class 1000 for none, whatever the network.
    folder = dit_folder(tmp_path / "thousand", names=None, dit=tiny_dit(num_embeds_ada_norm=1000))
    plain, guided = load_teacher(str(folder)), load_teacher(f"{folder}#guidance=4")
    pipe = DiTPipeline.from_pretrained(folder)
    pipe.scheduler = DDIMScheduler.from_config(
        pipe.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True
    )
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(3, *guided.space.shape, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([207, 0, 999])
    solver = SolverSpec(steps=4)
    states = states_of(guided, noise, classes, solver)
    drawn = torch.Generator().manual_seed(1)
    settings = {"guidance_scale": 4.0, "num_inference_steps": 4, "output_type": "pt"}
    own = pipe(class_labels=classes.tolist(), generator=drawn, **settings)
    images = (guided.space.decode(states[-1]) / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(images, own.images, rtol=0, atol=1e-4)
    assert not torch.allclose(states[-1], states_of(plain, noise, classes, solver)[-1], atol=1e-2)

    # Another teacher, which the store's identity tells in plain words, and which can be pinned.
    assert guided.fingerprint != plain.fingerprint
    assert guided.solver_config(solver) == plain.solver_config(solver) | {"guidance_scale": 4.0}
    assert load_teacher(f"{folder}#guidance=1").fingerprint == plain.fingerprint
    pin = f"#sha256={guided.fingerprint}"
    assert load_teacher(f"{folder}#guidance=4.0{pin}").fingerprint == guided.fingerprint
    with pytest.raises(TeacherError, match="must still be what it was"):
        load_teacher(f"{folder}#guidance=3{pin}")


@pytest.mark.parametrize("scale", ["0.5", "nan", "much", ""])
def test_a_scale_that_is_none_is_refused(scale: str) -> None:
    with pytest.raises(TeacherError, match=rf"must be a number from 1 .* got '{scale}'; write `mixture#guidance=4`"):
        load_teacher(f"mixture#guidance={scale}")


def test_guidance_of_a_teacher_without_classes_is_refused() -> None:
    with pytest.raises(TeacherError, match=r"guidance is for .*, got 4 for 'digits-mixture'|got 4 for 'mixture'"):
        load_teacher("mixture#guidance=4")


def test_its_conditions_are_its_classes_by_name(folder: Path, tmp_path: Path) -> None:
    teacher = load_teacher(str(folder))
    assert teacher.conditions.facts == {"kind": "labels", "names": list(NAMES), "distribution": "uniform"}
    assert teacher.space.facts["class"] == "AutoencoderKL"
    nameless = load_teacher(str(dit_folder(tmp_path / "nameless", names=None)))
    assert nameless.conditions.facts == {"kind": "labels", "classes": 3, "distribution": "uniform"}
    # Another class is another image.
    noise = torch.ones(2, 4, 8, 8)
    one, other = states_of(teacher, noise, torch.tensor([0, 1]), SolverSpec(steps=2))[-1]
    assert not torch.equal(one, other)


@pytest.mark.parametrize("kind", ["ddpm", "dpmpp", "unipc"])
def test_other_solvers_take_the_half_that_they_know(folder: Path, kind: str) -> None:
    """The folder's scheduler is DDIM's, which knows no variance: ancestral sampling takes its fixed one."""
    teacher = load_teacher(str(folder))
    states = states_of(teacher, torch.ones(2, 4, 8, 8), torch.tensor([0, 1]), SolverSpec(kind=kind, steps=4))
    assert all(state.shape == (2, 4, 8, 8) and bool(torch.isfinite(state).all()) for state in states)


def test_names_that_do_not_fit_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = dit_folder(tmp_path / "two", names=NAMES[:2])
    with pytest.raises(TeacherError, match="id2label must name its 3 classes"):
        check_folder(folder)


def test_another_transformer_is_refused(tmp_path: Path) -> None:
    folder = dit_folder(tmp_path / "pixart")
    index = folder / "model_index.json"
    named = {"transformer": ["diffusers", "PixArtTransformer2DModel"]}
    index.write_text(json.dumps(json.loads(index.read_text()) | named))
    with pytest.raises(TeacherError, match="transformer of a DiTPipeline must be a diffusers DiTTransformer2DModel"):
        check_folder(folder)


@pytest.mark.parametrize("name", ["StableDiffusionXLPipeline", "PixArtAlphaPipeline"])
def test_a_pipeline_of_no_family_is_refused_with_those_that_are(folder: Path, name: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(TeacherError, match=rf"one of .*DiTPipeline.*LDMPipeline.*, got '{name}'"):
        check_folder(tmp_path)
