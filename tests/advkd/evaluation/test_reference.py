import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from advkd.diffusion import Start, solver_grid
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.reference import SHIPPED, STEPS, Reference, references_for, ship_reference
from advkd.evaluation.teacher_states import (
    EVALUATION_START,
    clean_timesteps,
    evaluation_noise,
    solver_grid_for,
    teacher_states,
    teacher_trajectory,
)
from advkd.features import FeatureExtractor, digits_extractor
from advkd.presets import PRESETS
from advkd.teachers import SolverSpec, Teacher, load_teacher
from storage.records.seeding import initial_noise
from tests.advkd.evaluation.parts import GRID, SHAPE, gaussian_teacher


def reference_for(teacher: Teacher, **arguments: Any) -> Reference:
    (found,) = references_for(teacher, [digits_extractor()], **arguments)
    return found


def test_evaluation_noise_is_the_store_s_noise_at_indices_that_no_store_reaches() -> None:
    # 10^12 samples would be 200 PB at 32x32: stores count from 0.
    assert EVALUATION_START > 10**12
    noise = evaluation_noise(7, 3, SHAPE)
    np.testing.assert_array_equal(noise[1:], initial_noise(7, EVALUATION_START + 1, EVALUATION_START + 3, SHAPE))
    assert not np.allclose(noise, initial_noise(7, 0, 3, SHAPE))


@pytest.mark.thorough
def test_the_curve_falls_and_is_computed_once(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    root = str(tmp_path)
    first = reference_for(gaussian_teacher(), root=root, samples=64, progress=lambda *done: calls.append(done))
    assert calls[-1] == (64 * sum(STEPS), 64 * sum(STEPS))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    distances = list(first.curve.values())
    assert list(first.curve) == [1, 2, 4, 5, 10, 20]
    assert distances == sorted(distances, reverse=True)
    calls.clear()
    second = reference_for(gaussian_teacher(), root=root, samples=64, progress=lambda *done: calls.append(done))
    assert calls == []
    assert second.points == first.points
    assert torch.equal(second.features, first.features)


@pytest.mark.thorough
def test_features_and_pictures_are_the_teacher_s_at_50_steps(tmp_path: Path) -> None:
    teacher = gaussian_teacher()
    reference = reference_for(teacher, root=str(tmp_path), samples=70, seed=3)
    solver = SolverSpec(steps=50)
    states = teacher_states(teacher, Start(evaluation_noise(3, 70, SHAPE)), solver, clean_timesteps(teacher, solver))
    assert torch.equal(reference.pictures, states[-1, :64].half().float())
    assert torch.equal(reference.features, digits_extractor()(states[-1]).half().float())


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Reference, Path]]:
    """By the number of its samples, a reference and its file; tests only read them."""
    root = tmp_path_factory.mktemp("computed")
    found = {samples: reference_for(gaussian_teacher(), root=str(root), samples=samples) for samples in (16, 17)}
    return {samples: (one, root / "references" / f"{one.digest}.npz") for samples, one in found.items()}


@pytest.mark.thorough
def test_another_seed_count_or_teacher_has_another_digest(
    computed: dict[int, tuple[Reference, Path]], tmp_path: Path
) -> None:
    root = str(tmp_path)
    digests = {one.digest for one, _ in computed.values()}
    digests.add(reference_for(gaussian_teacher(), root=root, samples=16, seed=1).digest)
    digests.add(reference_for(gaussian_teacher(dims=9), root=root, samples=16).digest)
    assert len(digests) == 4
    assert len(list((tmp_path / "references").glob("*.npz"))) == 2


@pytest.mark.thorough
@pytest.mark.parametrize("damage", ["short", "flipped", "foreign"])
def test_a_damaged_reference_is_computed_again(
    damage: str, computed: dict[int, tuple[Reference, Path]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, whole = computed[16]
    good = whole.read_bytes()
    middle = len(good) // 3
    broken = {
        "short": good[:-40],
        "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "foreign": computed[17][1].read_bytes(),
    }[damage]
    path = tmp_path / "references" / whole.name
    path.parent.mkdir()
    path.write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        again = reference_for(gaussian_teacher(), root=str(tmp_path), samples=16)
    assert "is computed again" in caplog.text
    assert torch.equal(again.features, first.features)
    assert path.read_bytes() == good


def test_no_pickle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, facts=np.array([{"a": 1}], dtype=object))
    assert read_arrays(str(path), {"a": 1}) is None


def test_a_nan_teacher_is_refused_and_nothing_is_cached(tmp_path: Path) -> None:
    teacher = gaussian_teacher()
    teacher.mixture.offset[5] = torch.nan
    with pytest.raises(EvaluationError, match="states must be finite, got NaN or infinity from 'gaussian'"):
        reference_for(teacher, root=str(tmp_path), samples=8)
    assert not list(tmp_path.rglob("*.npz"))


def test_trajectories_are_the_teacher_s_and_cached(tmp_path: Path) -> None:
    teacher = gaussian_teacher()
    arguments = {"solver": SolverSpec(steps=20), "timesteps": GRID, "seed": 0, "count": 10, "root": str(tmp_path)}
    first = teacher_trajectory(teacher, **arguments)
    expected = torch.stack(list(teacher.states(Start(evaluation_noise(0, 10, SHAPE)), SolverSpec(steps=20), GRID)))
    assert torch.equal(first, expected)

    def never(done: int, total: int) -> None:
        raise AssertionError("computed again")

    assert torch.equal(teacher_trajectory(teacher, **arguments, progress=never), first)


def test_solver_steps_are_those_that_pass_through_the_student_s_grid() -> None:
    teacher = gaussian_teacher()

    def steps(timesteps: Sequence[int], asked: int | None = None) -> int:
        solver, grid = solver_grid_for(teacher, "ddim", timesteps, asked)
        assert grid == teacher.grid(solver).at(timesteps)
        return solver.steps

    assert steps(GRID) == 20
    assert steps(solver_grid(1000, 50)[::10]) == 20
    assert steps(solver_grid(1000, 125)) == 125
    assert steps(GRID, 40) == 40
    with pytest.raises(EvaluationError, match="50 ddim steps do not start at the first and pass through all of them"):
        steps(GRID, 50)


def test_features_do_not_depend_on_the_batch() -> None:
    extractor: FeatureExtractor = digits_extractor()
    images = evaluation_noise(0, 300, SHAPE)
    together = extractor(images)
    assert together.shape == (300, 64)
    torch.testing.assert_close(extractor(images[290:]), together[290:], rtol=1e-5, atol=1e-5)


def test_shipping_writes_what_is_found_again(tmp_path: Path) -> None:
    path = ship_reference("gaussian", "digits", samples=16, folder=tmp_path / "references")
    assert path.name == f"{reference_for(gaussian_teacher(), root=str(tmp_path), samples=16).digest}.npz"
    assert path.stat().st_size < 500_000


@pytest.mark.thorough
@pytest.mark.parametrize("samples", sorted({preset.evaluation_samples for preset in PRESETS.values()}))
def test_the_embedded_teacher_s_shipped_reference_is_what_it_computes(tmp_path: Path, samples: int) -> None:
    """One for every number of samples that a preset evaluates with."""
    teacher = load_teacher("digits")

    def never(done: int, total: int) -> None:
        raise AssertionError("the shipped reference was not found: run ship_reference('digits')")

    reference = reference_for(teacher, root=str(tmp_path), samples=samples, progress=never)
    assert len(reference.features) == samples
    assert not any(tmp_path.iterdir())
    noise = evaluation_noise(0, 16, SHAPE)
    solver = SolverSpec(steps=50)
    images = teacher_states(teacher, Start(noise), solver, clean_timesteps(teacher, solver))[-1]
    torch.testing.assert_close(reference.pictures[:16], images, rtol=0, atol=0.02)
    torch.testing.assert_close(reference.features[:16], digits_extractor()(images), rtol=0.02, atol=0.02)
    assert (SHIPPED / f"{reference.digest}.npz").stat().st_size < 200 * samples
