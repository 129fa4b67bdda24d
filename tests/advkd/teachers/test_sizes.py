"""The size of states behind a source, for networks whose config leaves it open."""

import json
from pathlib import Path

import pytest
import torch

from advkd.diffusion import Start
from advkd.teachers import SolverSpec, TeacherChangedError, TeacherError, load_teacher, with_option
from tests.advkd.conftest import FolderMaker
from tests.advkd.teachers.latents import dit_folder, ldm_folder

SOLVER = SolverSpec(kind="ddim", steps=4)


def opened(folder: Path, part: str = "unet") -> Path:
    """The folder with `sample_size: null` in its network's config."""
    file = folder / part / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sample_size": None}))
    return folder


def test_a_size_makes_a_teacher_of_an_open_one(teacher_folder: FolderMaker) -> None:
    closed = load_teacher(str(teacher_folder("closed")))
    folder = opened(teacher_folder("open"))
    with pytest.raises(TeacherError, match=r"got sample_size null .*; give .* with --sample-size 32, or .*=32"):
        load_teacher(str(folder))
    square, wide = load_teacher(f"{folder}#sample_size=16"), load_teacher(f"{folder}#sample_size=16x24")
    assert (square.space.shape, wide.space.shape) == ((1, 16, 16), (1, 16, 24))
    assert square.name == wide.name == "open"
    assert len({closed.fingerprint, square.fingerprint, wide.fingerprint}) == 3
    # The network is the same.
    noise = torch.randn(2, 1, 16, 16)
    for ours, theirs in zip(
        square.states(Start(noise), SOLVER, (999, 0)), closed.states(Start(noise), SOLVER, (999, 0)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    pinned = f"{folder}#sample_size=16#sha256={square.fingerprint}"
    assert load_teacher(pinned).fingerprint == square.fingerprint
    with pytest.raises(TeacherChangedError, match="a pinned teacher must still be what it was"):
        load_teacher(f"{folder}#sample_size=24#sha256={square.fingerprint}")


def test_latents_have_a_size_too(tmp_path: Path) -> None:
    teacher = load_teacher(f"{opened(ldm_folder(tmp_path / 'faces'))}#sample_size=12")
    assert (teacher.space.shape, teacher.space.image_shape) == ((3, 12, 12), (3, 24, 24))


def test_the_size_that_a_folder_says_is_no_other_teacher(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    plain, same = load_teacher(str(folder)), load_teacher(f"{folder}#sample_size=8")
    assert same.fingerprint == plain.fingerprint
    with pytest.raises(TeacherError, match=r"for teachers that say none, got 32x32 where .* 8x8; leave it out"):
        load_teacher(f"{folder}#sample_size=32")


@pytest.mark.parametrize("text", ["", "0", "x32", "32x", "-1", "8x8x8", "big"])
def test_what_is_no_size_is_refused(teacher_folder: FolderMaker, text: str) -> None:
    with pytest.raises(TeacherError, match=r"must be the side of the images, or HEIGHTxWIDTH, got"):
        load_teacher(f"{teacher_folder()}#sample_size={text}")


def test_families_that_know_their_size_take_none(tmp_path: Path) -> None:
    for source in ("digits", str(dit_folder(tmp_path / "dit"))):
        with pytest.raises(TeacherError, match=r"a sample size is for pipelines whose UNet leaves it open"):
            load_teacher(f"{source}#sample_size=8")


def test_an_option_goes_before_guidance_and_pin() -> None:
    pin = f"#sha256={64 * '0'}"
    assert with_option("a/b", "sample_size", "32") == "a/b#sample_size=32"
    assert with_option(f"a/b#guidance=4{pin}", "sample_size", "8x9") == f"a/b#sample_size=8x9&guidance=4{pin}"
    with pytest.raises(TeacherError, match="must be said once"):
        with_option("a/b#sample_size=32", "sample_size", "32")
