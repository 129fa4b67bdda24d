import pytest
import torch

from advkd.teachers.emoji.batches import NULL, SHIFT, draw_batch, moved
from advkd.teachers.emoji.data import EmojiImages, read_emoji
from advkd.teachers.emoji.groups import GROUPS
from tests.advkd.teachers.emoji.packages import small_package

WHITE = 255


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> EmojiImages:
    return read_emoji(small_package(tmp_path_factory.mktemp("emoji")))


def test_moved_images_are_shifted_on_white_and_mirrored_first() -> None:
    pixels = torch.randint(0, 200, (3, 3, 8, 6), dtype=torch.uint8)
    mirrored = torch.tensor([False, True, True])
    down, right = torch.tensor([0, 2, -1]), torch.tensor([0, -2, 1])
    shifted = moved(pixels, mirrored, down, right)
    assert torch.equal(shifted[0], pixels[0])
    assert torch.equal(shifted[1, :, 2:, :-2], pixels[1].flip(2)[:, :-2, 2:])
    assert torch.equal(shifted[2, :, :-1, 1:], pixels[2].flip(2)[:, 1:, :-1])
    assert (shifted[1, :, :2] == WHITE).all()
    assert (shifted[1, :, :, -2:] == WHITE).all()


def test_a_shift_cuts_nothing_off_that_has_the_margin(data: EmojiImages) -> None:
    count = len(data.pixels)
    corner = torch.full((count,), SHIFT)
    there = moved(data.pixels, torch.zeros(count, dtype=torch.bool), corner, corner)
    back = moved(there, torch.zeros(count, dtype=torch.bool), -corner, -corner)
    assert torch.equal(back, data.pixels)


def test_batches_are_even_over_groups_and_some_images_have_none(data: EmojiImages) -> None:
    batch = draw_batch(data, data.weights(), 8000, torch.Generator().manual_seed(0))
    assert (batch.images.min() >= -1, batch.images.max() == 1) == (True, True)
    counts = batch.classes.bincount(minlength=NULL + 1) / 8000
    assert counts[NULL] == pytest.approx(0.1, abs=0.015)
    assert counts[:NULL].tolist() == pytest.approx([0.9 / len(GROUPS)] * len(GROUPS), abs=0.015)


def test_letters_are_never_mirrored() -> None:
    # Left half black: mirrored ones have their left edge white.
    pixels = torch.full((2, 3, 32, 32), WHITE, dtype=torch.uint8)
    pixels[..., :16] = 0
    data = EmojiImages(
        pixels=pixels,
        groups=torch.tensor([0, GROUPS.index("flags")]),
        motifs=torch.tensor([0, 1]),
        mirrored=torch.tensor([True, False]),
        held_out=torch.tensor([False, False]),
        plain=torch.tensor([True, True]),
        names=("face", "flag"),
    )
    batch = draw_batch(data, data.weights(), 400, torch.Generator().manual_seed(0))
    is_mirrored = batch.images[:, 0, 16, 5] > 0
    assert not is_mirrored[batch.classes == GROUPS.index("flags")].any()
    assert is_mirrored[batch.classes == 0].float().mean() == pytest.approx(0.5, abs=0.1)


def test_the_same_generator_draws_the_same_batch(data: EmojiImages) -> None:
    one, other = (draw_batch(data, data.weights(), 16, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.classes, other.classes)
