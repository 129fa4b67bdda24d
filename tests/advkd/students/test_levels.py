"""Submodules of several resolutions: the identity at first, and every pixel may depend on all the noise."""

import pytest
import torch

from advkd.students.levels import Level, level_widths
from tests.advkd.students.test_students import shaken, student


@pytest.mark.parametrize("attention", [False, True])
def test_fresh_levels_are_the_identity(attention: bool) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(2, 8, 8, 16)
    assert torch.equal(Level(8, 1, (16, 32), attention)(hidden), hidden)


def test_levels_double_in_width_up_to_four_times_the_finest() -> None:
    assert level_widths(32, 5) == (32, 64, 128, 128, 128)


def test_one_level_is_a_chain_of_blocks_as_before() -> None:
    names = [name for name, _ in student(levels=1).submodules[0].named_parameters()]
    assert names == ["0.conv1.weight", "0.conv1.bias", "0.conv2.weight", "0.conv2.bias"]


def depends_on_all(model: torch.nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether the pixel at a corner depends on the noise at every corner of the image."""
    noise = torch.randn(1, *shape, requires_grad=True)
    shaken(model)(noise)[0, :, 0, 0].sum().backward()
    corners = noise.grad[0, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    return bool((corners != 0).all())


def test_a_chain_of_one_resolution_does_not_see_a_large_image_and_levels_do() -> None:
    assert not depends_on_all(student(shape=(1, 128, 128), patch=2), (1, 128, 128))
    assert depends_on_all(student(shape=(1, 128, 128), patch=2, levels=4), (1, 128, 128))


def test_attention_reaches_every_position_of_the_coarsest_level() -> None:
    assert depends_on_all(student(shape=(1, 64, 64), patch=2, levels=2, attention=True), (1, 64, 64))
    assert not depends_on_all(student(shape=(1, 64, 64), patch=2, levels=2), (1, 64, 64))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"levels": 3}, "3 levels above patches of 2 for 8x12, which 8 must divide; choose fewer levels"),
        ({"patch": 3}, "patch must divide height and width, got 3 for 8x12"),
    ],
)
def test_levels_without_whole_positions_are_refused(size: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        student(**size)


def test_a_moved_level_adds_what_its_coarser_level_makes_before_its_blocks() -> None:
    torch.manual_seed(0)
    level, hidden = Level(8, 1, (16,), False).double(), torch.randn(2, 8, 4, 4, dtype=torch.float64)
    for weight in level.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    coarse = level.coarser.blocks(torch.nn.functional.conv2d(hidden, level.down.weight, level.down.bias, stride=2))
    up = torch.nn.functional.conv2d(coarse, level.up.weight, level.up.bias)
    expected = level.blocks(hidden + torch.nn.functional.pixel_shuffle(up, 2))
    torch.testing.assert_close(level(hidden), expected, rtol=1e-12, atol=1e-12)
