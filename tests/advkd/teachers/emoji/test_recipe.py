from itertools import islice
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline

from advkd.diffusion import Start, solver_grid
from advkd.files import file_sha256
from advkd.teachers import SolverSpec, load_teacher
from advkd.teachers.emoji import package, recipe
from advkd.teachers.emoji.groups import GROUPS
from advkd.teachers.emoji.recipe import PART, build_unet, save_teacher, train
from advkd.teachers.training import TeacherTraining, averaged_so_far, checkpoint_of
from tests.advkd.teachers.emoji.packages import small_package

SPEC = TeacherTraining(images=10, batch_size=2, checkpoint_every=4)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = small_package(tmp_path)
    monkeypatch.setattr(package, "PACKAGE_SHA256", file_sha256(file))
    return file


@pytest.mark.thorough
def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path, pictures: Path) -> None:
    whole = list(train(SPEC, tmp_path / "whole", pictures))
    parts = list(islice(train(SPEC, tmp_path / "parts", pictures), 3))
    resumed = list(train(SPEC, tmp_path / "parts", pictures))
    # The checkpoint after two steps of three.
    assert parts[:2] + resumed == whole
    weights = [(tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors") for name in ("whole", "parts")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not checkpoint_of(tmp_path / "parts", PART).exists()


def test_the_averaged_weights_of_an_unfinished_training_are_a_teacher(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(ValueError, match="must have a checkpoint beside its folder"):
        averaged_so_far(tmp_path / "out", PART)
    list(islice(train(SPEC, tmp_path / "out", pictures), 3))
    save_teacher(averaged_so_far(tmp_path / "out", PART), tmp_path / "so-far")
    assert load_teacher(str(tmp_path / "so-far")).space.shape == (3, 32, 32)


def test_it_trains_on_the_half_that_is_not_held_out(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def no_training(data, spec, out):  # type: ignore[no-untyped-def]
        seen.append(data)
        return build_unet().state_dict()
        yield

    monkeypatch.setattr(recipe, "train_on", no_training)
    list(train(SPEC, tmp_path / "out", pictures))
    assert 0 < len(seen[0].pixels) < 56
    assert not seen[0].held_out.any()


def test_a_saved_teacher_is_small_names_its_groups_and_is_guided(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_teacher(build_unet().state_dict(), tmp_path / "teacher")
    assert sum(file.stat().st_size for file in (tmp_path / "teacher").rglob("*.safetensors")) < 8e6
    teacher = load_teacher(f"{tmp_path / 'teacher'}#guidance=2")
    assert teacher.conditions.facts == {"kind": "labels", "names": list(GROUPS), "distribution": "uniform"}
    condition = teacher.conditions.tensors([{"label": 0}, {"label": 7}])
    noise = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    *_, images = teacher.states(Start(noise, condition), SolverSpec(steps=2), (solver_grid(1000, 2)[0], 0))
    assert images.isfinite().all()
    card = (tmp_path / "teacher" / "README.md").read_text(encoding="utf-8")
    assert all(owed in card for owed in ("Noto Emoji", "Apache License 2.0", "MIT", "public domain"))
    loaded = DDPMPipeline.from_pretrained(tmp_path / "teacher")
    assert loaded.scheduler.config.prediction_type == "v_prediction"
    assert loaded.unet.config.num_class_embeds == len(GROUPS) + 1
