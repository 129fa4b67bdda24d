"""The paper's student and discriminator: sides, skipped heads, and input noise of unit variance."""

import pytest
import torch
from torch import nn

from advkd.diffusion import linear_schedule, solver_grid, spread_captures
from advkd.discriminators import DcganDiscriminator
from advkd.students import ProgressiveStudent
from advkd.students.loading import StudentError, load_student
from advkd.students.progressive import submodule_sides, usual_submodules
from advkd.training.methods.paper import released_input


def student(side: int = 16, captures: int = 4, width: int = 4, channels: int = 1) -> ProgressiveStudent:
    torch.manual_seed(0)
    schedule, grid = linear_schedule(), spread_captures(solver_grid(1000, 100), captures)
    signal, sigma = [schedule.signal(t) for t in grid], [schedule.sigma(t) for t in grid]
    return ProgressiveStudent([channels, side, side], list(grid), signal, sigma, width=width)


def noises(count: int, side: int, channels: int = 1) -> torch.Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def test_sides_and_widths_are_the_paper_s() -> None:
    assert submodule_sides(256, 256, 11) == (8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256)
    assert submodule_sides(256, 256, 7) == (8, 8, 16, 32, 64, 128, 256)
    assert [usual_submodules(side) for side in (8, 16, 32, 64, 256)] == [4, 4, 5, 7, 7]
    assert submodule_sides(16, 16, 6) == (8, 8, 16, 16, 16, 16)
    model = student(256, 11, width=16, channels=3)
    widths = [head.block.conv.out_channels for head in model.heads]
    assert widths == [16, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128]


@pytest.mark.parametrize(("side", "captures"), [(8, 1), (16, 3), (16, 4), (32, 5), (16, 7)])
def test_every_submodule_predicts_a_state_at_its_side(side: int, captures: int) -> None:
    model = student(side, captures)
    noise = noises(3, side)
    predicted = model.eval().predictions(noise)
    assert [state.shape for state in predicted] == [(3, 1, one, one) for one in model.sides]
    assert model(noise).shape == (3, 1, side, side)
    assert all(state.abs().max() <= 1.0 for state in predicted)
    torch.testing.assert_close(model(noise), predicted[-1])


def test_inner_heads_are_skipped_at_sampling() -> None:
    model = student().eval()
    called: list[int] = []
    for k, head in enumerate(model.heads):
        head.register_forward_hook(lambda *_, k=k: called.append(k))
    model(noises(2, 16))
    assert called == [3]


@pytest.mark.parametrize("side", [8, 16, 64])
def test_the_input_has_unit_variance(side: int) -> None:
    model = student(side, 2 * (side.bit_length() - 4) + 1)
    full = noises(4096, side)
    coarse = model.coarse(full)
    assert coarse.shape == (4096, 1, 4, 4)
    assert coarse.std().item() == pytest.approx(1.0, abs=0.01)
    # A store may hold the noise as box means already.
    torch.testing.assert_close(model.coarse(nn.functional.avg_pool2d(full, 2)), coarse, rtol=1e-5, atol=1e-5)


def test_the_released_input_has_next_to_none() -> None:
    """The fault as it was found: a standard deviation of 0.0085 at 256x256."""
    assert released_input(noises(64, 256)).std().item() == pytest.approx(0.0085, abs=0.0003)


def test_it_is_saved_and_loaded(tmp_path) -> None:
    model = student().eval()
    model.save_pretrained(tmp_path, safe_serialization=True)
    loaded = load_student(tmp_path)
    assert isinstance(loaded, ProgressiveStudent)
    assert torch.equal(loaded(noises(2, 16)), model(noises(2, 16)))
    (tmp_path / "config.json").write_text('{"_class_name": ["module", "ProgressiveStudent"]}')
    with pytest.raises(StudentError, match="a student must be a LayerwiseStudent or a ProgressiveStudent"):
        load_student(tmp_path)


@pytest.mark.parametrize(
    ("height", "width", "submodules", "message"),
    [
        (16, 8, 4, "square images whose side is a power of two from 8 on, got 16x8; train a layerwise"),
        (24, 24, 9, "got 24x24"),
        (4, 4, 9, "got 4x4"),
        (64, 64, 3, "64x64 images need 4 states besides the noise, got 3; precompute with captures=4"),
        (16, 16, 1, "need 2 states besides the noise, got 1"),
    ],
)
def test_images_that_it_cannot_grow_to_are_refused(height: int, width: int, submodules: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        submodule_sides(height, width, submodules)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("side", [8, 16, 64])
def test_the_discriminator_sees_the_noise_unless_told_not_to(side: int, norm: str) -> None:
    torch.manual_seed(0)
    states, coarse = noises(4, side), noises(4, 4)
    for sees in (True, False):
        judge = DcganDiscriminator(1, side, width=4, norm=norm, sees_noise=sees)
        assert judge(states, coarse).shape == (4,)
        assert torch.equal(judge(states, coarse), judge(states, coarse.flip(0))) != sees


def test_only_a_normalised_discriminator_mixes_samples() -> None:
    states, coarse = noises(4, 16), noises(4, 4)
    for norm, mixes in (("none", False), ("batch", True)):
        torch.manual_seed(0)
        judge = DcganDiscriminator(1, 16, width=4, norm=norm)
        with torch.no_grad():
            alone, together = judge(states[:2], coarse[:2]), judge(states, coarse)[:2]
        assert torch.allclose(alone, together, atol=1e-6) != mixes
