"""A wrong `prediction_type` is found by a few passes, and a right one, or none to tell, is never refused."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from advkd.teachers import NetworkTeacher, TeacherError, UNetTeacher, check_prediction, load_teacher
from advkd.teachers.mixture import digits_mixture_teacher
from advkd.trajectories import cached_teacher
from tests.advkd.conftest import FolderMaker, tiny_unet
from tests.advkd.teachers.closed_form import CONFIGS, VP, ClosedForm
from tests.advkd.teachers.latents import dit_folder

PREDICTIONS = ("epsilon", "v_prediction", "sample")
PAIRS = list(itertools.product(PREDICTIONS, repeat=2))


class Digits(NetworkTeacher):
    """The embedded teacher's network, whose output is turned into another prediction."""

    def __init__(self, predicts: str, says: str) -> None:
        self.embedded = load_teacher("digits")
        assert isinstance(self.embedded, UNetTeacher)
        self.predicts = predicts
        self.scheduler = VP | {"prediction_type": says}
        self.name, self.space, self.conditions = "digits", self.embedded.space, self.embedded.conditions
        self.device = torch.device("cpu")
        self.levels = digits_mixture_teacher().schedule
        self.passes = 0

    def predict(self, state: Tensor, time: Tensor, condition: Any) -> Tensor:
        self.passes += 1
        noise = self.embedded.predict(state, time, condition)  # type: ignore[attr-defined]
        a, s = (level(max(1, int(time))) for level in (self.levels.signal, self.levels.sigma))
        clean = (state - s * noise) / a
        return {"epsilon": noise, "v_prediction": a * noise - s * clean, "sample": clean}[self.predicts]


@pytest.mark.thorough
@pytest.mark.parametrize(("predicts", "says"), PAIRS)
def test_real_weights_under_another_name_are_found(predicts: str, says: str) -> None:
    teacher = Digits(predicts, says)
    if predicts == says:
        check_prediction(teacher)
        assert teacher.passes == (1 if says == "epsilon" else 10)
        return
    with pytest.raises(
        TeacherError, match=rf"got prediction_type '{says}'.*behaves as one for '{predicts}'.*#prediction={predicts}"
    ):
        check_prediction(teacher)
    assert teacher.passes <= 28


@pytest.mark.parametrize(("predicts", "says"), PAIRS)
def test_the_closed_form_under_another_name_is_found(predicts: str, says: str) -> None:
    teacher = ClosedForm(digits_mixture_teacher(), predicts, VP | {"prediction_type": says})
    if predicts == says:
        check_prediction(teacher)
        return
    with pytest.raises(TeacherError, match=f"behaves as one for '{predicts}'"):
        check_prediction(teacher)


@pytest.mark.parametrize("predicts", ["edm", "edm v"])
def test_the_wrong_sign_of_a_preconditioned_network_is_found(predicts: str) -> None:
    right = ClosedForm(digits_mixture_teacher(), predicts)
    check_prediction(right)
    assert right.passes > 0
    said = {"edm": "v_prediction", "edm v": "epsilon"}[predicts]
    wrong = ClosedForm(digits_mixture_teacher(), predicts, {**CONFIGS[predicts], "prediction_type": said})
    with pytest.raises(TeacherError, match=f"got prediction_type '{said}'"):
        check_prediction(wrong)


@pytest.mark.thorough
@pytest.mark.parametrize(("seed", "scale"), [(0, 0.0), *itertools.product(range(3), (0.3, 1.0, 3.0))])
def test_random_weights_say_nothing_and_pass(teacher_folder: FolderMaker, seed: int, scale: float) -> None:
    teacher = load_teacher(str(teacher_folder(unet=tiny_unet(seed))))
    assert isinstance(teacher, UNetTeacher)
    with torch.no_grad():
        for weight in teacher.network.parameters():
            weight *= scale
    for name, predictions in (("DDPMScheduler", PREDICTIONS), ("EDMEulerScheduler", PREDICTIONS[:2])):
        for says in predictions:
            other = copy.copy(teacher)
            other.scheduler = {"_class_name": name, "prediction_type": says}
            check_prediction(other)


def test_classes_latents_and_learned_variances_are_looked_at_too(tmp_path: Path) -> None:
    check_prediction(load_teacher(f"{dit_folder(tmp_path / 'dit')}#guidance=3"))


def test_what_is_no_network_and_flow_matching_are_left_alone() -> None:
    check_prediction(load_teacher("mixture"))
    flow = ClosedForm(digits_mixture_teacher(), "flow")
    check_prediction(flow)
    assert flow.passes == 0


def relabelled(folder: Path, says: str) -> str:
    """The embedded teacher's folder with another word in its scheduler's config."""
    from diffusers import DDPMPipeline

    from advkd.teachers import DIGITS_FOLDER

    pipe = DDPMPipeline.from_pretrained(DIGITS_FOLDER)
    pipe.scheduler.register_to_config(prediction_type=says)
    pipe.save_pretrained(folder)
    return str(folder)


def test_it_is_refused_before_anything_is_computed_and_taken_by_who_knows(tmp_path: Path) -> None:
    source = relabelled(tmp_path / "wrong", "v_prediction")
    with pytest.raises(TeacherError, match="behaves as one for 'epsilon'"):
        cached_teacher(source, "cpu")
    corrected = cached_teacher(f"{source}#prediction=epsilon", "cpu")
    meant = cached_teacher(f"{source}#prediction=v_prediction", "cpu")
    plain = load_teacher(source)
    assert meant.fingerprint == plain.fingerprint != corrected.fingerprint
    assert load_teacher(f"{source}#prediction=epsilon#sha256={corrected.fingerprint}").name == "wrong"
    with pytest.raises(TeacherError, match=r"must be one of \('epsilon', 'sample', 'v_prediction'\), got 'noise'"):
        load_teacher(f"{source}#prediction=noise")
    with pytest.raises(TeacherError, match=r"must be one of \(\), got 'epsilon'; leave it out"):
        load_teacher("mixture#prediction=epsilon")
