"""Passes that are tried before anything is computed: no prompt is embedded for them."""

import pytest
import torch

from advkd.diffusion import Prompts, start_of
from advkd.teachers import SolverSpec, Teacher, check_prediction, in_precision, load_teacher, micro_batch
from advkd.teachers.rehearsal import rehearsing
from tests.advkd.teachers.text_folders import prompt_file, stable_diffusion_folder

ONE_STEP = SolverSpec(kind="unipc", steps=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("rehearsal")
    return f"{stable_diffusion_folder(root / 'sd')}#prompts={prompt_file(root)}"


def clean_of(teacher: Teacher, conditions_of: Teacher) -> torch.Tensor:
    noise = torch.randn(2, *teacher.space.shape, generator=torch.Generator().manual_seed(0))
    start = start_of(noise, conditions_of.conditions, 0, range(2))
    *_, clean = teacher.states(start, ONE_STEP, teacher.grid(ONE_STEP).labels)
    return clean


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_prompt_is_embedded_for_them(source: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advkd.teachers.precision.require_computes", lambda device, precision: None)
    teacher = in_precision(load_teacher(f"{source}#guidance=3"), precision, "cpu")
    check_prediction(teacher)
    chosen = micro_batch(teacher, ONE_STEP, batch=8)
    assert chosen.sample_bytes > 0
    assert isinstance(teacher.conditions, Prompts)
    assert not teacher.conditions.at_hand


def test_guidance_changes_nothing_in_them(source: str) -> None:
    plain, guided = (rehearsing(load_teacher(f"{source}{options}")) for options in ("", "#guidance=7.5"))
    torch.testing.assert_close(clean_of(plain, plain), clean_of(guided, guided))


def test_any_other_teacher_is_itself() -> None:
    teacher = load_teacher("mixture")
    assert rehearsing(teacher) is teacher
