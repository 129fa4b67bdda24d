"""Passes in bfloat16: those of diffusers in that dtype, declared, and refused where nothing computes in it."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel

from advkd.diffusion import Start
from advkd.teachers import SolverSpec, TeacherError, in_precision, load_teacher
from advkd.trajectories import PrecomputeSpec, cached_teacher, precompute, repair, trajectory_spec
from storage import digest, open_store, verify
from tests.advkd.conftest import FolderMaker, mixture_spec
from tests.advkd.teachers.latents import dit_folder

SOLVER = SolverSpec(kind="ddim", steps=4)


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with bfloat16; torch computes in it anywhere, only slowly."""
    monkeypatch.setattr("advkd.device.choice.computes_bfloat16", lambda name: True)


@pytest.mark.usefixtures("able")
def test_a_pass_is_that_of_diffusers_in_this_dtype(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    teacher = in_precision(load_teacher(str(folder)), "bfloat16", "cpu")
    one_step = SolverSpec(kind="ddim", steps=1)
    noise = torch.randn(3, 1, 16, 16)
    unet = UNet2DModel.from_pretrained(folder / "unet", torch_dtype=torch.bfloat16).eval()
    network = teacher.inner.network
    with torch.no_grad():
        expected = unet(noise.bfloat16(), torch.tensor(999)).sample.float()
        found = network(noise, torch.tensor(999)).sample
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-2)
    states = list(teacher.states(Start(noise), one_step, (999, 0)))
    plain = list(load_teacher(str(folder)).states(Start(noise), one_step, (999, 0)))
    torch.testing.assert_close(states[0], noise, rtol=0, atol=0)
    assert states[1].dtype == torch.float32
    assert (states[1] - plain[1]).abs().max() > 0


@pytest.mark.usefixtures("able")
def test_guidance_and_classes_go_along(tmp_path: Path) -> None:
    source = f"{dit_folder(tmp_path / 'dit')}#guidance=2"
    teacher = in_precision(load_teacher(source), "bfloat16", "cpu")
    config = teacher.solver_config(SOLVER)
    assert (config["guidance_scale"], config["precision"]) == (2.0, "bfloat16")
    start = Start(torch.randn(2, *teacher.space.shape), {"class_labels": torch.tensor([0, 2])})
    last = list(teacher.states(start, SOLVER, (999, 0)))[-1]
    assert torch.isfinite(last).all()


@pytest.mark.usefixtures("able")
def test_the_precision_is_in_the_digest_and_a_repair_keeps_it(tmp_path: Path, teacher_folder: FolderMaker) -> None:
    spec = mixture_spec(tmp_path, teacher=str(teacher_folder()), precision="bfloat16", samples=16)
    stored = open_store(precompute(spec).uri)
    assert stored.manifest.spec.sampler_config["precision"] == "bfloat16"
    plain = PrecomputeSpec(**(vars(spec) | {"precision": "float32"}))
    other = trajectory_spec(plain, cached_teacher(plain.teacher, "cpu"))
    assert "precision" not in other.sampler_config
    assert digest(other) != digest(stored.manifest.spec)
    file = Path(stored.uri, stored.manifest.shards.entries(0)[1].key)
    before = file.read_bytes()
    file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    repair(stored.uri, spec.teacher)
    assert file.read_bytes() == before
    assert verify(stored.uri) == []


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_device_without_such_numbers_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, precision: str
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", dict, raising=False)
    message = rf"computes in {precision} only on a device that has such arithmetic, got 'cpu'.*; use float32"
    with pytest.raises(ValueError, match=message):
        precompute(mixture_spec(tmp_path / "stores", teacher="digits", precision=precision))
    assert not (tmp_path / "stores").exists()


@pytest.mark.usefixtures("able")
def test_a_teacher_without_a_network_is_refused() -> None:
    with pytest.raises(TeacherError, match=r"a torch module `network`, got none in 'mixture'; use float32"):
        in_precision(load_teacher("mixture"), "bfloat16", "cpu")


def test_another_precision_is_none() -> None:
    with pytest.raises(ValueError, match=r"PrecomputeSpec\.precision must be one of .* got 'int8'"):
        PrecomputeSpec(precision="int8")
