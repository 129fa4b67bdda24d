"""The rule from the shape of states to networks, and that every pixel of what it makes depends on all the noise."""

from dataclasses import replace

import pytest

from advkd.presets import PRESETS, Changes, check_sight, fitted, geometry
from advkd.presets.grids import fitted_student
from advkd.students import StudentSpec
from advkd.teachers import SolverSpec
from advkd.training import TrainSpec
from advkd.trajectories import UnseenTeacher, trajectory_spec
from storage import TrajectorySpec
from tests.advkd.students.test_levels import depends_on_all
from tests.advkd.students.test_students import student as untrained


def store_of(shape: str) -> TrajectorySpec:
    asked = replace(PRESETS["quick"].precompute, solver=SolverSpec(kind="ddim", steps=10), shard_samples=None)
    return trajectory_spec(asked, UnseenTeacher.of(shape))


@pytest.mark.parametrize(
    ("shape", "finest", "patch", "levels", "positions"),
    [
        ((1, 16, 16), 16, 2, 1, 8),
        ((4, 4, 4), 16, 1, 1, 4),
        ((3, 28, 28), 16, 2, 2, 7),
        ((3, 32, 32), 16, 2, 2, 8),
        ((3, 64, 64), 16, 4, 2, 8),
        ((3, 64, 64), 32, 2, 3, 8),
        ((4, 64, 64), 64, 2, 3, 8),
        ((3, 256, 256), 32, 8, 3, 8),
        ((3, 256, 256), 64, 4, 4, 8),
        ((3, 64, 32), 16, 4, 2, 8),
        ((3, 25, 25), 16, 5, 1, 5),
        ((1, 17, 17), 32, 1, 1, 17),
    ],
)
def test_the_grid_is_as_fine_as_the_preset_pays_for(
    shape: tuple[int, int, int], finest: int, patch: int, levels: int, positions: int
) -> None:
    chosen = geometry(shape, finest)
    assert (chosen.patch, chosen.levels, chosen.positions) == (patch, levels, positions)


@pytest.mark.parametrize("preset", ["quick", "full", "large"])
@pytest.mark.parametrize("side", [4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 160, 192, 224, 256])
def test_every_pixel_may_depend_on_all_the_noise(preset: str, side: int) -> None:
    chosen, shape = PRESETS[preset], (1, side, side)
    assert isinstance(chosen.train, TrainSpec)
    student = fitted_student(chosen.train.student, shape, chosen.finest, 4)
    size = {"blocks": student.blocks, "patch": student.patch, "levels": student.levels}
    assert depends_on_all(untrained((999, 799, 499, 199, 0), shape, width=4, **size), shape)


@pytest.mark.parametrize(
    ("preset", "shape", "levels", "width"),
    [
        ("quick", "1x16x16", 1, 32),
        ("quick", "3x32x32", 2, 24),
        ("full", "3x64x64", 3, 24),
        ("large", "3x32x32", 2, 72),
    ],
)
def test_above_coarser_levels_a_student_is_narrower(preset: str, shape: str, levels: int, width: int) -> None:
    spec = fitted(PRESETS[preset], store_of(shape))
    assert isinstance(spec, TrainSpec)
    assert (spec.student.levels, spec.student.width) == (levels, width)
    wished = fitted(PRESETS[preset], store_of(shape), Changes(width=40))
    assert isinstance(wished, TrainSpec)
    assert wished.student.width == 40


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            "3x31x31",
            r"every pixel .* depends on all the noise, got 31x31 with 31 positions .* 8 blocks see 16 positions",
        ),
        ("4x1x1", "at least 2x2 positions, got 1x1"),
    ],
)
def test_a_shape_that_no_rule_covers_is_refused(shape: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(PRESETS["quick"], store_of(shape))


def test_attention_at_the_coarsest_level_sees_everything() -> None:
    check_sight(StudentSpec(patch=1, attention=True), (3, 31, 31), 4)
    with pytest.raises(ValueError, match="every pixel"):
        check_sight(StudentSpec(patch=1), (3, 31, 31), 4)


def test_settings_change_a_preset_and_the_rule_goes_on_from_them() -> None:
    spec = fitted(
        PRESETS["quick"], store_of("3x64x64"), Changes(width=48, blocks=1, patch=2, batch_size=32, captures=2)
    )
    assert isinstance(spec, TrainSpec)
    assert (spec.student.width, spec.student.blocks, spec.batch_size) == (48, 1, 32)
    # Two blocks see four positions far, so there is a level more.
    assert (spec.student.patch, spec.student.levels) == (2, 4)
    assert spec.timesteps is not None
    assert len(spec.timesteps) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (Changes(patch=3), "patch must divide height and width, got 3 for 64x64"),
        (Changes(captures=9), "9"),
        (Changes(width=0), "StudentSpec.width must be positive, got 0"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(changes: Changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(PRESETS["quick"], store_of("3x64x64"), changes)


def test_a_large_step_is_computed_in_parts() -> None:
    small = replace(PRESETS["quick"], part_bytes=20 * 2**20)
    spec, whole = (fitted(chosen, store_of("3x64x64")) for chosen in (small, PRESETS["quick"]))
    assert whole.accumulate == 1
    assert spec.accumulate > 1
    assert spec.batch_size % spec.accumulate == 0
