"""Options of a source: guidance, the class that stands for none, and what they do to class-conditional UNets."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler

from advkd.diffusion import Start
from advkd.teachers import SolverSpec, TeacherError, TeacherOptions, load_teacher, split_options
from tests.advkd.conftest import FolderMaker, tiny_unet
from tests.advkd.teachers.test_teachers import noise_of

SOLVER = SolverSpec(steps=4)


@pytest.fixture
def classes(teacher_folder: FolderMaker) -> Path:
    """Five classes, of which the last one stands for none."""
    return teacher_folder("classes", unet=tiny_unet(num_class_embeds=5))


def write_index(folder: Path, **facts: object) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | facts))


def test_options_are_read_in_any_order() -> None:
    assert split_options("a/b") == ("a/b", TeacherOptions())
    assert split_options("a&size=3/b") == ("a&size=3/b", TeacherOptions())
    assert split_options("a&size=3/b#null=1") == ("a&size=3/b", TeacherOptions(null=1))
    assert split_options("a/b#null=10&guidance=4.5") == ("a/b", TeacherOptions(guidance=4.5, null=10))
    assert split_options("a#size=8x9&prompts=p&q.txt#guidance=2") == (
        "a",
        TeacherOptions(size=(8, 9), prompts="p&q.txt", guidance=2.0),
    )
    assert split_options("a#prediction=epsilon&guidance=1")[1] == TeacherOptions(guidance=1.0, prediction="epsilon")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "guidance=2&scale=3",
            r"guidance scale must be a number .*, got '2&scale=3'; .* `&` with another of guidance, null",
        ),
        ("guidance=2&guidance=3", "must be said once each, got guidance=2 and guidance=3; leave one out"),
        ("prompts=", r"prompts must be in a file, got no name; write `mixture#prompts=prompts.txt`"),
        ("sample_size=big", r"a size must be the side of the images, or HEIGHTxWIDTH, got 'big'"),
        ("null=last", r"null class must be the number of a class, got 'last'; write `mixture#null=10`"),
        ("null=3", "null class is for class-conditional UNets, got 3 for 'mixture'; leave it out"),
    ],
)
def test_options_that_are_none_are_refused(options: str, message: str) -> None:
    with pytest.raises(TeacherError, match=message):
        load_teacher(f"mixture#{options}")


def test_guidance_of_a_unet_is_diffusers_loop_over_both_halves(classes: Path) -> None:
    teacher = load_teacher(f"{classes}#guidance=3&null=4")
    noise, labels = noise_of(3), torch.tensor([2, 0, 3])
    states = list(teacher.states(Start(noise, {"class_labels": labels}), SOLVER, teacher.grid(SOLVER).labels))
    network = tiny_unet(num_class_embeds=5).eval()
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(4)
    state = noise
    with torch.no_grad():
        for mine, time in zip(states, scheduler.timesteps, strict=False):
            torch.testing.assert_close(mine, state, rtol=1e-4, atol=1e-4)
            given = network(state, time, class_labels=labels).sample
            free = network(state, time, class_labels=torch.full((3,), 4)).sample
            state = scheduler.step(free + 3 * (given - free), time, state).prev_sample
    torch.testing.assert_close(states[-1], state, rtol=1e-4, atol=1e-4)
    facts = teacher.solver_config(SOLVER)
    assert (facts["guidance_scale"], facts["null_class"]) == (3.0, 4)


def test_the_null_class_is_never_drawn_and_has_no_name(classes: Path) -> None:
    plain, without = load_teacher(str(classes)), load_teacher(f"{classes}#null=4")
    assert (plain.conditions.facts or {})["classes"] == 5
    assert (without.conditions.facts or {})["classes"] == 4
    assert without.fingerprint == plain.fingerprint
    write_index(classes, id2label={str(k): f"c{k}" for k in range(5)})
    assert (load_teacher(f"{classes}#null=4").conditions.facts or {})["names"] == ["c0", "c1", "c2", "c3"]


def test_the_folder_may_name_it(classes: Path) -> None:
    write_index(classes, null_class=4)
    teacher = load_teacher(f"{classes}#guidance=2")
    assert (teacher.conditions.facts or {})["classes"] == 4
    assert teacher.fingerprint == load_teacher(f"{classes}#guidance=2&null=4").fingerprint
    assert teacher.fingerprint != load_teacher(str(classes)).fingerprint
    assert load_teacher(f"{classes}#guidance=1").fingerprint == load_teacher(str(classes)).fingerprint
    write_index(classes, null_class="four")
    with pytest.raises(TeacherError, match="null_class must be the number of a class, got 'four'"):
        load_teacher(str(classes))


def test_guidance_without_a_null_class_says_how_to_name_it(classes: Path, teacher_folder: FolderMaker) -> None:
    with pytest.raises(TeacherError, match=r"which of its classes stands for none.*#guidance=4&null=10.*null_class"):
        load_teacher(f"{classes}#guidance=4")
    with pytest.raises(TeacherError, match=r"last of a network's classes, got 0 of 5 classes \(0 to 4\)"):
        load_teacher(f"{classes}#guidance=4&null=0")
    with pytest.raises(TeacherError, match="got 3 of a network without classes in none; leave it out"):
        load_teacher(f"{teacher_folder('none')}#null=3")
