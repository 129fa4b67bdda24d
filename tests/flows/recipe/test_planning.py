"""A preset fits itself to a teacher that is no digits: its solver and its patches."""

import json
from pathlib import Path

import numpy as np
import pytest
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image

from advkd.teachers import SolverSpec
from advkd.trajectories import PrecomputeSpec
from flows.recipe import Places, recipe


def saved(folder: Path, size: int, **scheduler: object) -> str:
    unet = UNet2DModel(
        sample_size=size, in_channels=3, out_channels=3, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(folder)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return str(folder)


@pytest.mark.thorough
@pytest.mark.parametrize(("size", "patch"), [(25, 5), (32, 2)])
@pytest.mark.parametrize("preset", ["quick", "full"])
def test_patches_divide_the_image(tmp_path: Path, size: int, patch: int, preset: str) -> None:
    teacher = saved(tmp_path / "teacher", size, _class_name="DDPMScheduler")
    plan = recipe(teacher, preset, root=str(tmp_path))
    assert (plan.train.student.patch, plan.train.discriminator.patch) == (patch, patch)


@pytest.mark.parametrize(("preset", "steps"), [("quick", 10), ("full", 20)])
def test_a_solver_that_does_not_fit_makes_way_in_a_preset(tmp_path: Path, preset: str, steps: int) -> None:
    teacher = saved(tmp_path / "teacher", 16, _class_name="FlowMatchEulerDiscreteScheduler")
    plan = recipe(teacher, preset, root=str(tmp_path))
    assert plan.precompute.solver == SolverSpec(kind="flow-euler", steps=steps)
    with pytest.raises(ValueError, match="must be solved by one of"):
        recipe(teacher, preset, root=str(tmp_path), precompute=PrecomputeSpec(solver=SolverSpec(kind="ddim")))
    with pytest.raises(ValueError, match="must be solved by one of"):
        recipe(teacher, "paper", root=str(tmp_path))


def test_the_fast_solver_is_the_demo_s(tmp_path: Path) -> None:
    assert recipe("mixture", "quick", root=str(tmp_path)).precompute.solver == SolverSpec(kind="unipc", steps=10)


def test_bad_pictures_are_left_out_of_a_distillation_on_request(tmp_path: Path) -> None:
    for index in range(24):
        image = np.full((16, 16), 10 * index, np.uint8)
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    (tmp_path / "words.png").write_bytes(b"these are words")
    given = {"teacher": "mixture", "preset": "quick", "root": str(tmp_path / "runs"), "real": str(tmp_path)}
    with pytest.raises(ValueError, match=r"words.png \(corrupt\); .* --skip-bad"):
        recipe(**given, features="digits")
    plan = recipe(**given, features="digits", skip_bad=True)
    assert plan.evaluation(Places("student", "report", "onnx", "artifact"), "student").skip_bad
