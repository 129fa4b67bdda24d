"""What the package ships of `emoji`: weights that are its recipe's, small, and draw the group that is asked for."""

import json
from pathlib import Path

import pytest
import torch

from advkd.evaluation.reference import references_for
from advkd.evaluation.teacher_states import evaluation_start
from advkd.features import chosen_features
from advkd.teachers import EMOJI_FOLDER, load_teacher
from advkd.teachers.emoji.data import SHAPE
from advkd.teachers.emoji.groups import GROUPS
from advkd.teachers.emoji.recipe import build_unet


def test_the_embedded_teacher_of_emoji_is_small_and_its_own_recipe() -> None:
    assert sum(path.stat().st_size for path in EMOJI_FOLDER.rglob("*.safetensors")) < 8e6
    teacher = load_teacher("emoji")
    assert (teacher.name, teacher.space.shape) == ("emoji", SHAPE)
    assert teacher.conditions.facts == {"kind": "labels", "names": list(GROUPS), "distribution": "uniform"}
    shapes = {name: value.shape for name, value in build_unet().state_dict().items()}
    assert {name: value.shape for name, value in teacher.network.state_dict().items()} == shapes
    named = json.loads((EMOJI_FOLDER / "scheduler" / "scheduler_config.json").read_text())["prediction_type"]
    assert named == "v_prediction"


def missing(done: int, total: int) -> None:
    raise AssertionError("the reference must be shipped: run advkd evaluation reference --teacher emoji#guidance=2")


@pytest.mark.thorough
def test_the_embedded_teacher_draws_the_group_that_it_is_asked_for(tmp_path: Path) -> None:
    """Symbols fill their square with a colour, faces are yellow discs, and flags are wider than high: on white.

    The images are those of its shipped reference, of which `test_reference.py` computes some anew.
    """
    teacher = load_teacher("emoji#guidance=2")
    (reference,) = references_for(teacher, chosen_features("auto", teacher), root=str(tmp_path), progress=missing)
    images = reference.pictures
    groups = evaluation_start(teacher, 0, len(images)).condition["class_labels"]
    red, _, blue = ((images[:, channel] + 1) / 2 for channel in range(3))
    yellow = (red - blue)[:, 12:20, 12:20].mean((1, 2))
    assert yellow[groups == GROUPS.index("faces")].median() > 0.5
    assert yellow[groups == GROUPS.index("faces")].median() > yellow[groups != GROUPS.index("faces")].median() + 0.3
    ink = (images < 0.8).any(1).double()
    flags = ink[groups == GROUPS.index("flags")]
    # Noto's flags have empty rows above and below them, and none beside them.
    assert flags[:, :3].mean() < 0.1 < 0.4 < flags[:, :, 3:6].mean()
    assert torch.isfinite(images).all()
