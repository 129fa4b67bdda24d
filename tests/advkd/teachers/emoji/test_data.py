import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from advkd.teachers.emoji.data import MARGIN, SHAPE, images_in, read_emoji
from advkd.teachers.emoji.groups import GROUPS
from tests.advkd.teachers.emoji.packages import entry, package_of, png_of, small_package

RUNNER = "1F3C3"


def test_a_package_becomes_images_with_groups_and_halves(tmp_path: Path) -> None:
    data = read_emoji(small_package(tmp_path, each=6))
    # Nine categories of pictures, two skin tones more; skin tones alone have no group.
    assert data.pixels.shape == (9 * 6 + 2, *SHAPE)
    assert data.pixels.dtype == torch.uint8
    assert data.groups.bincount().tolist() == [6, 8, 6, 6, 6, 12, 6, 6]
    assert int((~data.plain).sum()) == 2
    assert len(data.names) == len(data.pixels)
    for motif in data.motifs.unique():
        assert len(data.held_out[data.motifs == motif].unique()) == 1


def test_nothing_is_black_because_it_was_transparent(tmp_path: Path) -> None:
    red = Image.new("RGBA", (64, 64), (255, 0, 0, 128))
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    grey = Image.new("LA", (64, 64), (100, 255))
    pictures = {f"{number}.png": png_of(picture) for number, picture in enumerate((red, clear, grey), start=1)}
    data = read_emoji(package_of(tmp_path / "p.tgz", [entry(name, "Objects") for name in "123"], pictures))
    middle = data.pixels[:, :, 16, 16].tolist()
    assert middle[0] == pytest.approx([255, 127, 127], abs=1)
    assert middle[1:] == [[255] * 3, [100] * 3]
    border = torch.ones(SHAPE[1:], dtype=torch.bool)
    border[MARGIN:-MARGIN, MARGIN:-MARGIN] = False
    assert (data.pixels[:, :, border] == 255).all()
    assert (data.pixels[2, :, ~border] == 100).all()


def test_pixels_become_images_from_minus_one_to_one() -> None:
    images = images_in(torch.tensor([0, 255], dtype=torch.uint8))
    torch.testing.assert_close(images, torch.tensor([-1.0, 1.0]))


def test_groups_weigh_the_same_and_so_do_motifs_in_them(tmp_path: Path) -> None:
    data = read_emoji(small_package(tmp_path, each=6))
    weights = data.weights()
    by_group = torch.zeros(len(GROUPS), dtype=torch.float64).index_add(0, data.groups, weights)
    torch.testing.assert_close(by_group, torch.full((8,), 1 / 8, dtype=torch.float64))
    people = data.groups == GROUPS.index("people")
    by_motif = torch.zeros(int(data.motifs.max()) + 1, dtype=torch.float64).index_add(0, data.motifs, weights)
    torch.testing.assert_close(by_motif[data.motifs[people].unique()], torch.full((6,), 1 / 48, dtype=torch.float64))
    # Three variants share the weight of their motif.
    assert weights[people].min().item() == pytest.approx(1 / 144)


def test_a_part_keeps_everything_of_its_images(tmp_path: Path) -> None:
    data = read_emoji(small_package(tmp_path))
    half = data.part(data.held_out)
    assert half.held_out.all()
    assert len(half.names) == len(half.pixels) == int(data.held_out.sum())
    where = data.names.index(half.names[-1])
    assert torch.equal(half.pixels[-1], data.pixels[where])


def _no_packages(folder: Path) -> Iterator[Path]:
    (text := folder / "text.tgz").write_text("no archive")
    yield text
    yield package_of(folder / "nothing.tgz", [entry(RUNNER, "People & Body")], {})


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    for file in _no_packages(tmp_path):
        with pytest.raises(ValueError, match=f"must be an npm package .* in {re.escape(str(file))}"):
            read_emoji(file)
