"""The layerwise student: shapes, the skip, its folder, and that the skip leaves a linear problem linear."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from advkd.diffusion import Start, implied_clean, linear_schedule, solver_grid
from advkd.students import LayerwiseStudent, StudentSpec
from advkd.students.loading import StudentError, load_student, student_files
from advkd.teachers import SolverSpec
from storage.records.seeding import initial_noise
from tests.advkd.teachers.test_teachers import affine_flow_map, mixture_teacher, noise_of

SCHEDULE = linear_schedule()


def student(
    timesteps: tuple[int, ...] = (999, 799, 399, 0),
    shape: tuple[int, int, int] = (2, 8, 12),
    seed: int = 0,
    **size: int | str,
) -> LayerwiseStudent:
    torch.manual_seed(seed)
    return LayerwiseStudent(
        sample_shape=list(shape),
        timesteps=list(timesteps),
        signal=[SCHEDULE.signal(t) for t in timesteps],
        sigma=[SCHEDULE.sigma(t) for t in timesteps],
        **({"width": 8, "blocks": 1, "patch": 2} | size),
    )


def shaken(model: LayerwiseStudent) -> LayerwiseStudent:
    """With every weight random, so that blocks which start as the identity matter too."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return model


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("timesteps", [(999, 0), (999, 499, 0), (999, 799, 599, 399, 199, 0)])
def test_one_estimate_and_one_state_per_captured_timestep(timesteps: tuple[int, ...], patch: int) -> None:
    model, noise = student(timesteps, patch=patch), noise_of(3, (2, 8, 12))
    estimates = model.estimates(noise)
    states = model.states(noise, estimates)
    assert len(estimates) == len(states) == len(timesteps) - 1
    assert {tensor.shape for tensor in (*estimates, *states)} == {noise.shape}


def test_one_pass_is_the_last_estimate_and_the_last_state() -> None:
    model, noise = shaken(student()), noise_of(3, (2, 8, 12))
    estimates = model.estimates(noise)
    assert torch.equal(model(noise), estimates[-1])
    assert torch.equal(model.states(noise, estimates)[-1], estimates[-1])


def test_states_imply_the_estimates_again() -> None:
    model, noise = shaken(student()), noise_of(3, (2, 8, 12))
    estimates = model.estimates(noise)
    coefficients = zip(model.coefficients.skip, model.coefficients.gain, strict=True)
    for (skip, gain), state, estimate in zip(coefficients, model.states(noise, estimates), estimates, strict=True):
        torch.testing.assert_close(implied_clean(state, noise, skip, gain), estimate, rtol=1e-4, atol=1e-4)


def test_every_submodule_depends_on_the_ones_before_it_only() -> None:
    model, noise = shaken(student()), noise_of(2, (2, 8, 12))
    before = model.estimates(noise)
    with torch.no_grad():
        for weight in model.submodules[1].parameters():
            weight += 1.0
    after = model.estimates(noise)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    assert not torch.equal(before[2], after[2])


def test_inner_heads_are_skipped_at_inference() -> None:
    model, noise = shaken(student()), noise_of(2, (2, 8, 12))
    before = model(noise)
    with torch.no_grad():
        for head in model.heads[:-1]:
            for weight in head.parameters():
                weight.fill_(float("nan"))
    assert torch.equal(model(noise), before)


def test_a_saved_student_gives_identical_output(tmp_path: Path) -> None:
    model, noise = shaken(student()), noise_of(3, (2, 8, 12))
    model.save_pretrained(tmp_path / "run" / "student", safe_serialization=True)
    expected = model(noise)
    for found in (
        LayerwiseStudent.from_pretrained(tmp_path / "run" / "student"),
        load_student(tmp_path / "run" / "student"),
        load_student(tmp_path / "run"),
    ):
        assert torch.equal(found(noise), expected)
        assert (found.timesteps, found.sample_shape) == (model.timesteps, model.sample_shape)
        assert found.coefficients == model.coefficients
    assert not any(weight.requires_grad for weight in load_student(tmp_path / "run").parameters())


# -- sampling ---------------------------------------------------------------------------------------------------------


def test_an_image_depends_on_its_seed_and_its_number_alone() -> None:
    """Bit for bit whatever `n` is, to rounding whatever the rows per pass are: kernels sum in another order."""
    model = shaken(student())
    whole = model.sample(21, seed=3).images
    assert whole.shape == (21, 2, 8, 12)
    for n in (1, 2, 8, 9, 20):
        assert torch.equal(model.sample(n, seed=3).images, whole[:n])
    scale = float(whole.abs().max())
    for rows in (1, 4, 64):
        torch.testing.assert_close(model.sample(21, 3, batch_size=rows).images, whole, rtol=0, atol=1e-5 * scale)
    assert not torch.isclose(model.sample(21, seed=4).images, whole).any(1).all()


def test_samples_are_made_of_a_store_s_noises() -> None:
    model, noise = shaken(student()), torch.from_numpy(initial_noise(5, 0, 8, (2, 8, 12)))
    found = model.sample(8, seed=5, states=True)
    with torch.no_grad():
        states = model.states(noise, model.estimates(noise))
    assert [tuple(state.shape) for state in found.states] == [(8, 2, 8, 12)] * 3
    for mine, theirs in zip(found.states, states, strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(found.images, found.states[-1])
    assert torch.equal(found.images, model.sample(8, seed=5).images)
    assert model.sample(8, seed=5).states == ()
    # Ordinary tensors, which may enter a computation with gradients.
    found.images.clone().requires_grad_().square().sum().backward()


def test_samples_of_a_half_precision_student_are_float32() -> None:
    model = student()
    expected = model.sample(3).images
    for weight in model.parameters():
        weight.data = weight.data.to(torch.bfloat16)
    found = model.sample(3).images
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 0}, "the number of images must be positive, got 0"),
        ({"n": 2, "batch_size": 0}, "the number of rows per pass must be positive, got 0"),
        ({"n": 2, "seed": -1}, r"a base seed must lie in \[0, 2\*\*63\), got -1"),
    ],
)
def test_what_cannot_be_sampled_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        student().sample(**wrong)


@pytest.mark.parametrize("patch", [3, 5, 8])
def test_a_patch_that_does_not_divide_is_refused(patch: int) -> None:
    with pytest.raises(ValueError, match=f"patch must divide height and width, got {patch} for 8x12"):
        student(patch=patch)


@pytest.mark.parametrize("field", ["width", "blocks", "patch"])
@pytest.mark.parametrize("value", [0, -2])
def test_student_spec_refuses_counts_below_one(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"StudentSpec\.{field} must be positive, got {value}"):
        StudentSpec(**{field: value})


def test_a_grid_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="signal must grow along the time grid"):
        LayerwiseStudent([1, 8, 8], [0, 999], [1.0, 0.01], [0.1, 0.99], width=4, blocks=1)


def least_squares(inputs: Tensor, targets: Tensor) -> Tensor:
    """Predictions of the best affine map from `inputs` to `targets`, both flattened."""
    rows = torch.cat([inputs.flatten(1), torch.ones(len(inputs), 1, dtype=inputs.dtype)], 1)
    return (rows @ torch.linalg.lstsq(rows, targets.flatten(1)).solution).view_as(targets)


def test_linear_submodules_reach_the_flow_map_of_a_gaussian_teacher() -> None:
    """Through the skip every target F_k is affine in x_T, so least squares per submodule is exact at every timestep."""
    teacher = mixture_teacher(1, 4, (1, 4, 4), seed=3)
    timesteps, steps = (999, 749, 499, 249, 0), 20
    model = student(timesteps, (1, 4, 4))
    noise = noise_of(64, (1, 4, 4), torch.float64)
    states = list(teacher.states(Start(noise), SolverSpec(steps=steps), timesteps))[1:]
    coefficients = zip(model.coefficients.skip, model.coefficients.gain, strict=True)
    fitted = [
        least_squares(noise, implied_clean(state, noise, skip, gain))
        for (skip, gain), state in zip(coefficients, states, strict=True)
    ]
    for mine, theirs in zip(model.states(noise, fitted), states, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
    matrix, shift = affine_flow_map(teacher, steps)
    torch.testing.assert_close(fitted[-1].flatten(1), noise.flatten(1) @ matrix.T + shift, rtol=0, atol=1e-5)


@pytest.mark.thorough
def test_a_network_learns_the_gaussian_flow_map_by_gradient_descent() -> None:
    teacher = mixture_teacher(1, 3, (1, 4, 4), seed=3)
    model = student((999, 499, 0), (1, 4, 4), patch=1, width=16)
    grid = (solver_grid(1000, 10)[0], 499, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    errors = []
    for _ in range(150):
        noise = torch.randn(64, 1, 4, 4, generator=generator)
        targets = list(teacher.states(Start(noise), SolverSpec(steps=10), grid))[1:]
        predicted = model.states(noise, model.estimates(noise))
        loss = sum((a - b).square().mean() for a, b in zip(predicted, targets, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[-1] < 0.1 * errors[0]


# -- folders that hold no student -------------------------------------------------------------------------------------


def saved(folder: Path) -> Path:
    student().save_pretrained(folder, safe_serialization=True)
    return folder


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


BROKEN = {
    "empty": (lambda f: [p.unlink() for p in f.iterdir()], "a student is a folder with config.json"),
    "no weights": (lambda f: student_files(f).weights.unlink(), "got neither in"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "must hold JSON"),
    "other class": (lambda f: rewrite(f / "config.json", _class_name="UNet2DModel"), "got 'UNet2DModel'"),
    "other width": (lambda f: rewrite(f / "config.json", width=16), "weights must fit its config"),
    "unknown setting": (lambda f: rewrite(f / "config.json", depth=3), "config must describe a LayerwiseStudent"),
    "truncated": (
        lambda f: student_files(f).weights.write_bytes(student_files(f).weights.read_bytes()[:-9]),
        "weights must fit its config",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_students_are_refused_clearly(tmp_path: Path, case: str) -> None:
    folder = saved(tmp_path / "student")
    breakage, message = BROKEN[case]
    breakage(folder)
    with pytest.raises(StudentError, match=message):
        load_student(folder)
