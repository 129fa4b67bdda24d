import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from advkd.diffusion import Start, decoded, solver_grid
from advkd.distances import collected, frechet_distance
from advkd.evaluation.curve import Curve
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.reference import SHIPPED, Reference, references_for, ship_reference
from advkd.evaluation.solutions import Solutions
from advkd.evaluation.teacher_states import (
    EVALUATION_START,
    clean_timesteps,
    evaluation_noise,
    evaluation_start,
    solver_grid_for,
    teacher_states,
    teacher_trajectory,
)
from advkd.features import chosen_features, digits_extractor, state_features
from advkd.files import read_arrays
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


POINTS = (("ddim", 1), ("ddim", 2), ("unipc", 3), ("unipc", 6))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Curve:
    """A curve of few passes, so that tests of the cache are quick."""
    return Curve(
        SolverSpec(kind="unipc", steps=12),
        SolverSpec(kind="unipc", steps=6),
        (
            SolverSpec(steps=1),
            SolverSpec(steps=2),
            SolverSpec(kind="unipc", steps=3),
            SolverSpec(kind="unipc", steps=6),
        ),
    )


PASSES = 12 + sum(steps for _, steps in POINTS)


def test_the_curve_is_computed_once(tmp_path: Path, short: Curve) -> None:
    calls: list[tuple[int, int]] = []
    given: dict[str, Any] = {"root": str(tmp_path), "samples": 64, "curve": short}
    first = reference_for(gaussian_teacher(), progress=lambda *done: calls.append(done), **given)
    # The images that are shown are drawn once more.
    assert calls[-1] == (64 * (PASSES + 12), 64 * (PASSES + 12))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert tuple((point.solver, point.passes) for point in first.points) == POINTS
    distances = [distance for _, distance in first.distances]
    assert distances == sorted(distances, reverse=True)
    assert first.of("ddim") == first.distances[:2]
    calls.clear()
    second = reference_for(gaussian_teacher(), progress=lambda *done: calls.append(done), **given)
    assert calls == []
    assert second.points == first.points
    assert torch.equal(kept(second), kept(first))


def test_what_another_run_computes_meanwhile_is_counted_too(tmp_path: Path, short: Curve) -> None:
    calls: list[tuple[int, int]] = []
    other = Solutions(
        teacher=gaussian_teacher(), extractors=(digits_extractor(),), root=str(tmp_path), seed=0, samples=64
    )

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == 1:
            other.sets(short.points[1])

    reference_for(gaussian_teacher(), root=str(tmp_path), samples=64, curve=short, progress=progress)
    assert calls == sorted(calls)
    assert all(done <= total for done, total in calls)
    assert (64 * (12 + 1 + 2), 64 * PASSES) in calls
    assert calls[-1] == (64 * (PASSES + 12), 64 * (PASSES + 12))


def test_features_and_pictures_are_the_target_s(tmp_path: Path, short: Curve) -> None:
    teacher = gaussian_teacher()
    reference = reference_for(teacher, root=str(tmp_path), samples=70, seed=3, curve=short)
    start = Start(evaluation_noise(3, 70, SHAPE))
    states = teacher_states(teacher, start, short.target, clean_timesteps(teacher, short.target))[-1]
    torch.testing.assert_close(reference.pictures, states[:64].half().float())
    torch.testing.assert_close(kept(reference), digits_extractor()(states).half().float())
    assert reference.target.name == "teacher@12 unipc"
    half = teacher_states(teacher, start, short.half, clean_timesteps(teacher, short.half))[-1]
    apart = frechet_distance(collected("half", digits_extractor()(half)), reference.target)
    assert reference.target_error == pytest.approx(apart, rel=1e-3)
    assert reference.target_error == pytest.approx(reference.points[-1].to_target.fd.value, rel=1e-9)


def kept(reference: Reference) -> torch.Tensor:
    assert reference.target.features is not None
    return reference.target.features


def test_another_seed_count_teacher_or_curve_has_another_digest(tmp_path: Path, short: Curve) -> None:
    given: dict[str, Any] = {"root": str(tmp_path), "samples": 16, "curve": short}
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"samples": 17},
        {"curve": replace(short, points=short.points[1:])},
    ]
    digests = {reference_for(gaussian_teacher(), **{**given, **change}).digest for change in changes}
    digests.add(reference_for(gaussian_teacher(dims=9), **given).digest)
    assert len(digests) == len(changes) + 1


@pytest.mark.parametrize("damage", ["short", "flipped", "foreign"])
def test_a_damaged_reference_is_computed_again(
    damage: str, tmp_path: Path, short: Curve, caplog: pytest.LogCaptureFixture
) -> None:
    given: dict[str, Any] = {"root": str(tmp_path), "samples": 16, "curve": short}
    first = reference_for(gaussian_teacher(), **given)
    path = tmp_path / "references" / f"{first.digest}.npz"
    good = path.read_bytes()
    middle = len(good) // 3
    foreign = reference_for(gaussian_teacher(), **{**given, "samples": 17})
    broken = {
        "short": good[:-40],
        "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "foreign": (tmp_path / "references" / f"{foreign.digest}.npz").read_bytes(),
    }[damage]
    path.write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        again = reference_for(gaussian_teacher(), **given)
    assert "is computed again" in caplog.text
    assert torch.equal(kept(again), kept(first))
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
    assert not list(tmp_path.rglob("*.claim"))


def test_trajectories_are_the_teacher_s_and_cached(tmp_path: Path) -> None:
    teacher = gaussian_teacher()
    arguments = {"solver": SolverSpec(steps=20), "timesteps": GRID, "seed": 0, "rows": range(10), "root": str(tmp_path)}
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


def test_shipping_writes_what_is_found_again(tmp_path: Path) -> None:
    path = ship_reference("gaussian", "digits", root=str(tmp_path), samples=16, folder=tmp_path / "references")
    assert path.name == f"{reference_for(gaussian_teacher(), root=str(tmp_path), samples=16).digest}.npz"
    assert path.stat().st_size < 500_000


SHIPPED_TEACHERS = {"digits": (16, 0.02), "digits-classes#guidance=1.5": (16, 0.02), "emoji#guidance=2": (2, 0.1)}
"""How many images are computed anew, for those of `emoji` take 200 passes; and how near the target is to a finer one.

A student of `quick` is at a distance of 6 and of 11 from the target of the first and of the last.
"""


@pytest.mark.thorough
@pytest.mark.parametrize("name", SHIPPED_TEACHERS)
@pytest.mark.parametrize("samples", sorted({preset.evaluation_samples for preset in PRESETS.values()}))
def test_the_embedded_teacher_s_shipped_reference_is_what_it_computes(tmp_path: Path, name: str, samples: int) -> None:
    """One for every number of samples that a preset evaluates with."""
    teacher = load_teacher(name)

    def never(done: int, total: int) -> None:
        raise AssertionError(f"the shipped reference was not found: run advkd evaluation reference --teacher {name}")

    (extractor,) = chosen_features("auto", teacher)
    (reference,) = references_for(teacher, [extractor], root=str(tmp_path), samples=samples, progress=never)
    assert len(kept(reference)) == reference.target.count == samples
    assert not any(tmp_path.iterdir())
    solver, (count, known) = reference.curve.target, SHIPPED_TEACHERS[name]
    states = teacher_states(teacher, evaluation_start(teacher, 0, count), solver, clean_timesteps(teacher, solver))[-1]
    images = decoded(teacher.space, states, "cpu")
    torch.testing.assert_close(reference.pictures[:count], images, rtol=0, atol=0.02)
    features = state_features(extractor, teacher.space, states, "cpu")
    torch.testing.assert_close(kept(reference)[:count], features, rtol=0.02, atol=0.02)
    assert (SHIPPED / f"{reference.digest}.npz").stat().st_size < 5 * extractor.dims * samples
    # The target is fine enough for any student of the presets.
    assert reference.target_error < known
