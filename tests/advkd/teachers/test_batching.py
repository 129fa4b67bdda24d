"""How many samples a teacher gets at once: measured, the same on every look, and without effect on small teachers."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn

from advkd.device import LiveBytes, memory_capacity, torch_threads
from advkd.device import memory as memory_module
from advkd.teachers import SolverSpec, TeacherError, load_teacher, micro_batch
from advkd.teachers.base import Teacher
from advkd.teachers.batching import _peak
from tests.advkd.conftest import FolderMaker
from tests.advkd.teachers.latents import dit_folder

SOLVER = SolverSpec(kind="ddim", steps=4)
GIB = 2**30


@pytest.fixture
def capacity(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The machine's memory, as the test says."""
    held = [64 * GIB]
    monkeypatch.setattr("advkd.teachers.batching.memory_capacity", lambda device: held[0])
    monkeypatch.setattr("advkd.teachers.batching._PEAKS", {})
    return held


def test_small_teachers_keep_the_whole_block(capacity: list[int]) -> None:
    for name in ("digits", "mixture"):
        assert micro_batch(load_teacher(name), SOLVER, 128).samples == 128


def test_what_is_measured_is_the_memory_of_a_pass(capacity: list[int], teacher_folder: FolderMaker) -> None:
    """Twice the samples take twice the memory; the line through one and two predicts eight."""
    teacher = load_teacher(str(teacher_folder()))
    chosen = micro_batch(teacher, SOLVER, 8)
    peak = chooser_peak(teacher, 8)
    assert chosen.bytes == pytest.approx(peak, rel=0.02)
    # More than the input and the output of one layer, less than all layers together.
    state = 4 * 16 * 16
    assert chosen.sample_bytes > 2 * state


def chooser_peak(teacher: Teacher, samples: int) -> int:
    return _peak(teacher, SolverSpec(kind="ddim", steps=1), samples, torch.device("cpu"))


@pytest.mark.parametrize(("batch", "fits", "expected"), [(128, 40, 32), (128, 1, 1), (96, 50, 48), (100, 30, 25)])
def test_it_is_the_largest_divisor_that_fits(
    capacity: list[int], teacher_folder: FolderMaker, batch: int, fits: int, expected: int
) -> None:
    teacher = load_teacher(str(teacher_folder()))
    measured = micro_batch(teacher, SOLVER, batch)
    capacity[0] = 2 * 3 * (measured.base_bytes + fits * measured.sample_bytes)
    chosen = micro_batch(teacher, SOLVER, batch, workers=3)
    assert chosen.samples == expected
    assert chosen.bytes <= chosen.allowed_bytes


def test_one_sample_must_fit(capacity: list[int], teacher_folder: FolderMaker) -> None:
    capacity[0] = 1000
    with pytest.raises(TeacherError, match=r"a pass of one sample must fit in memory, got .*; use a larger machine"):
        micro_batch(load_teacher(str(teacher_folder())), SOLVER, 8)


def test_guidance_takes_twice_the_memory(capacity: list[int], tmp_path: Path) -> None:
    folder = dit_folder(tmp_path / "dit")
    plain, guided = (micro_batch(load_teacher(f"{folder}{mark}"), SOLVER, 8) for mark in ("", "#guidance=4"))
    assert guided.sample_bytes > 1.7 * plain.sample_bytes


@pytest.mark.parametrize("asked", [0, -1, 3, 16])
def test_a_number_that_was_asked_for_divides_the_block(asked: int) -> None:
    with pytest.raises(ValueError, match=rf"must divide the block of 8 samples, got {asked}; choose one of \[1, 2, 4"):
        micro_batch(load_teacher("mixture"), SOLVER, 8, asked)
    assert micro_batch(load_teacher("mixture"), SOLVER, 8, 4).samples == 4


@pytest.mark.thorough
def test_the_count_is_no_less_than_what_the_process_grows_by() -> None:
    """Against the kernel's own figure, for a network whose tensors outweigh everything else."""
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=64, in_channels=3, out_channels=3, block_out_channels=(64, 64), layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    ).eval()  # fmt: skip
    image = torch.randn(16, 3, 64, 64)
    counted, grown = counted_bytes(network, image), grown_bytes(network, image)
    assert grown < 1.5 * counted


def counted_bytes(network: nn.Module, image: torch.Tensor) -> int:
    with torch_threads(1), torch.no_grad(), LiveBytes() as counted:
        network(image, 5)
    return counted.peak


def grown_bytes(network: nn.Module, image: torch.Tensor) -> int:
    reset = Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")
    except OSError:
        pytest.skip("the kernel does not forget the peak of this process")
    before = status("VmRSS")
    with torch_threads(1), torch.no_grad():
        network(image, 5)
    return status("VmHWM") - before


def status(key: str) -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return 1024 * int(line.split()[1])


def test_a_control_group_bounds_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory_module, "_OWN_CGROUP", tmp_path / "own")
    machine = memory_capacity(torch.device("cpu"))
    (tmp_path / "cgroup" / "work" / "job").mkdir(parents=True)
    (tmp_path / "own").write_text("0::/work/job\n")
    (tmp_path / "cgroup" / "work" / "job" / "memory.max").write_text("max\n")
    assert memory_capacity(torch.device("cpu")) == machine
    # That of a group above counts as well.
    (tmp_path / "cgroup" / "work" / "memory.max").write_text("1000000\n")
    assert memory_capacity(torch.device("cpu")) == 1_000_000
