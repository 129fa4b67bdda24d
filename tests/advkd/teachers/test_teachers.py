"""Teachers: closed forms, diffusers' own loop, and fingerprints."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from torch import Tensor

from advkd.diffusion import Start, solver_grid
from advkd.teachers import EMBEDDED, SolverSpec, load_teacher
from advkd.teachers.families import folder_fingerprint
from advkd.teachers.folder import slug
from advkd.teachers.mixture import Mixture, MixtureTeacher
from advkd.teachers.schedulers import PREDICTIONS, VARIANCE_PRESERVING
from advkd.teachers.unet import UNetTeacher
from storage.records.seeding import initial_noise, solver_seeds
from tests.advkd.conftest import SIZE, FolderMaker, tiny_unet

SHAPE = (1, SIZE, SIZE)
WEIGHTS = "diffusion_pytorch_model.safetensors"


def mixture_teacher(components: int, dims: int, shape: tuple[int, int, int], seed: int) -> MixtureTeacher:
    """A random mixture with full covariances in a random subspace."""
    g = torch.Generator().manual_seed(seed)
    size = shape[0] * shape[1] * shape[2]
    roots = torch.randn(components, dims, dims, dtype=torch.float64, generator=g) * 0.3
    basis, _ = torch.linalg.qr(torch.randn(size, dims, dtype=torch.float64, generator=g))
    mixture = Mixture(
        weights=torch.softmax(torch.randn(components, dtype=torch.float64, generator=g), 0),
        means=torch.randn(components, dims, dtype=torch.float64, generator=g),
        covariances=roots @ roots.mT + 0.02 * torch.eye(dims, dtype=torch.float64),
        basis=basis,
        offset=0.1 * torch.randn(size, dtype=torch.float64, generator=g),
    )
    return MixtureTeacher(mixture, shape)


def draws_of(teacher: MixtureTeacher, count: int, seed: int) -> Tensor:
    """Samples of the mixture itself, float64 `[count, C * H * W]`."""
    parts, g = teacher.mixture, torch.Generator().manual_seed(seed)
    component = torch.multinomial(parts.weights, count, replacement=True, generator=g)
    unit = torch.randn(count, parts.means.shape[1], dtype=torch.float64, generator=g)
    roots = torch.linalg.cholesky(parts.covariances)
    z = parts.means[component] + torch.einsum("bde,be->bd", roots[component], unit)
    return parts.offset + z @ parts.basis.T


def noise_of(count: int, shape: tuple[int, int, int] = SHAPE, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(initial_noise(0, 0, count, shape)).to(dtype)


# -- closed form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [1, 100, 500, 999])
def test_one_component_has_the_affine_posterior_mean(time: int) -> None:
    """E[x_0 | x_t] = m + a C (a^2 C + s^2 I)^-1 (x_t - a m), with the whole-space covariance C = B S B^T."""
    teacher = mixture_teacher(1, 3, (1, 2, 3), seed=1)
    parts = teacher.mixture
    a, s = teacher.schedule.signal(time), teacher.schedule.sigma(time)
    mean = parts.offset + parts.basis @ parts.means[0]
    cov = parts.basis @ parts.covariances[0] @ parts.basis.T
    state = noise_of(5, (1, 2, 3), torch.float64)
    gain = a * cov @ torch.linalg.inv(a * a * cov + s * s * torch.eye(6, dtype=torch.float64))
    expected = mean + (state.flatten(1) - a * mean) @ gain.T
    torch.testing.assert_close(teacher.clean_estimate(state, time).flatten(1), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("time", [200, 500, 800])
def test_posterior_mean_of_several_components_by_importance_sampling(time: int) -> None:
    """Brute force: sum_i x_i N(x_t; a x_i, s^2) / sum_i N(x_t; a x_i, s^2) over draws x_i of the mixture."""
    teacher = mixture_teacher(3, 2, (1, 1, 2), seed=2)
    a, s = teacher.schedule.signal(time), teacher.schedule.sigma(time)
    draws = draws_of(teacher, 200_000, seed=3)
    state = a * draws[:6] + s * noise_of(6, (1, 1, 2), torch.float64).flatten(1)
    log_weights = -0.5 * ((state[:, None] - a * draws) / s).square().sum(-1)
    expected = torch.softmax(log_weights, 1) @ draws
    found = teacher.clean_estimate(state.view(6, 1, 1, 2), time).flatten(1)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.03)


def test_data_samples_have_the_moments_of_the_mixture() -> None:
    teacher = mixture_teacher(3, 2, (1, 1, 2), seed=4)
    parts, draws = teacher.mixture, draws_of(teacher, 100_000, seed=0)
    mean = parts.offset + parts.basis @ (parts.weights @ parts.means)
    second = torch.einsum(
        "j,jde->de", parts.weights, parts.covariances + parts.means[:, :, None] * parts.means[:, None]
    )
    centre = parts.weights @ parts.means
    cov = parts.basis @ (second - torch.outer(centre, centre)) @ parts.basis.T
    torch.testing.assert_close(draws.mean(0), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(torch.cov(draws.T), cov, rtol=0, atol=0.03)


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_one_gaussian_has_a_closed_form_ddim_flow_map(steps: int) -> None:
    """In the covariance's eigenbasis every step is affine, so x_0 is the product of the steps applied to x_T."""
    teacher = mixture_teacher(1, 4, (1, 2, 2), seed=6)
    matrix, shift = affine_flow_map(teacher, steps)
    noise = noise_of(7, (1, 2, 2), torch.float64)
    *_, clean = teacher.states(Start(noise), SolverSpec(steps=steps), solver_grid(1000, steps))
    expected = noise.flatten(1) @ matrix.T + shift
    # diffusers' coefficients are float32
    torch.testing.assert_close(clean.flatten(1), expected, rtol=1e-5, atol=1e-5)


def affine_flow_map(teacher: MixtureTeacher, steps: int) -> tuple[Tensor, Tensor]:
    """`x_0 = matrix x_T + shift` of a one-component teacher under DDIM with `steps` steps."""
    parts, grid = teacher.mixture, solver_grid(1000, steps)
    mean = parts.offset + parts.basis @ parts.means[0]
    variances, axes = torch.linalg.eigh(parts.basis @ parts.covariances[0] @ parts.basis.T)
    scale, centre = torch.ones_like(variances), torch.zeros_like(variances)
    for time, target in pairwise(grid):
        a, s = teacher.schedule.signal(time), teacher.schedule.sigma(time)
        b, r = teacher.schedule.signal(target), teacher.schedule.sigma(target)
        # x - a m shrinks by (a b v + r s) / (a^2 v + s^2) along an axis of variance v.
        shrink = (a * b * variances + r * s) / (a * a * variances + s * s)
        scale = scale * shrink
        centre = shrink * (centre - a * axes.T @ mean) + b * axes.T @ mean
    return axes @ torch.diag(scale) @ axes.T, axes @ centre


def test_mixture_states_keep_the_dtype_and_begin_with_the_noise() -> None:
    teacher = mixture_teacher(2, 2, (1, 2, 2), seed=7)
    for dtype in (torch.float32, torch.float64):
        noise = noise_of(3, (1, 2, 2), dtype)
        states = list(teacher.states(Start(noise), SolverSpec(steps=4), (999, 499, 0)))
        assert [state.dtype for state in states] == [dtype] * 3
        assert torch.equal(states[0], noise)


def test_mixture_parts_must_agree() -> None:
    with pytest.raises(ValueError, match="a mixture's parts must agree in shape"):
        Mixture(torch.ones(1), torch.zeros(1, 2), torch.zeros(1, 3, 3), torch.zeros(4, 2), torch.zeros(4))


def test_mixture_fingerprint_follows_the_parameters() -> None:
    one, same, other = (mixture_teacher(2, 2, (1, 2, 2), seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert len(one.fingerprint) == 64


# -- diffusers' pipelines ---------------------------------------------------------------------------------------------


def diffusers_states(unet: UNet2DModel, scheduler: DDIMScheduler, noise: Tensor) -> list[Tensor]:
    """The loop of `DDIMPipeline.__call__` on given noise, every state kept."""
    states = [noise]
    with torch.no_grad():
        for time in scheduler.timesteps:
            predicted = unet(states[-1], time).sample
            states.append(scheduler.step(predicted, time, states[-1], eta=0.0).prev_sample)
    return states


@pytest.mark.thorough
@pytest.mark.parametrize("prediction", PREDICTIONS[VARIANCE_PRESERVING])
@pytest.mark.parametrize("pipeline", ["ddpm", "ddim"])
def test_ddim_states_are_those_of_diffusers(teacher_folder: FolderMaker, prediction: str, pipeline: str) -> None:
    folder = teacher_folder(pipeline=pipeline, prediction_type=prediction)
    teacher, unet = load_teacher(str(folder)), tiny_unet().eval()
    scheduler = DDIMScheduler(prediction_type=prediction, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(20)
    noise, grid = noise_of(4), solver_grid(1000, 20)
    expected = diffusers_states(unet, scheduler, noise)
    found = list(teacher.states(Start(noise), SolverSpec(steps=20), grid))
    assert len(found) == 21
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    captured = list(teacher.states(Start(noise), SolverSpec(steps=20), (999, 499, 0)))
    for mine, theirs in zip(captured, (found[0], found[10], found[20]), strict=True):
        assert torch.equal(mine, theirs)


def test_clipping_of_the_scheduler_config_is_kept(teacher_folder: FolderMaker) -> None:
    clipped = load_teacher(str(teacher_folder("clipped", clip_sample=True, prediction_type="sample")))
    free = load_teacher(str(teacher_folder("free", clip_sample=False, prediction_type="sample")))
    noise, solver = 30 * noise_of(2), SolverSpec(steps=2)
    *_, bounded = clipped.states(Start(noise), solver, (999, 0))
    *_, unbounded = free.states(Start(noise), solver, (999, 0))
    assert bounded.abs().max() <= 1.0
    assert not torch.equal(bounded, unbounded)
    assert clipped.solver_config(solver) != free.solver_config(solver)
    assert json.loads(json.dumps(free.solver_config(solver)))["class"] == "DDIMScheduler"


def test_ddpm_is_that_of_diffusers_and_independent_of_the_batch_split(teacher_folder: FolderMaker) -> None:
    teacher, unet = load_teacher(str(teacher_folder())), tiny_unet().eval()
    solver, grid = SolverSpec(kind="ddpm", steps=10), solver_grid(1000, 10)
    noise, seeds = noise_of(5), solver_seeds(0, 0, 5)
    whole = list(teacher.states(Start(noise), solver, grid, seeds))
    scheduler = DDPMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    state = noise
    with torch.no_grad():
        for k, time in enumerate(scheduler.timesteps):
            state = scheduler.step(unet(state, time).sample, time, state, generator=generators).prev_sample
            torch.testing.assert_close(whole[k + 1], state, rtol=1e-4, atol=1e-4)
    parts = [list(teacher.states(Start(noise[i:j]), solver, grid, seeds[i:j])) for i, j in ((0, 2), (2, 5))]
    for k in range(len(grid)):
        torch.testing.assert_close(torch.cat([part[k] for part in parts]), whole[k], rtol=1e-4, atol=1e-4)


def test_ddpm_of_the_closed_form_teacher_reaches_the_data() -> None:
    """Ancestral sampling of the exact posterior has the mean of the mixture (few steps: a coarse check)."""
    teacher = mixture_teacher(2, 2, (1, 1, 2), seed=8)
    noise = torch.from_numpy(initial_noise(0, 0, 1000, (1, 1, 2)))
    *_, clean = teacher.states(Start(noise), SolverSpec(kind="ddpm", steps=100), (999, 0), solver_seeds(0, 0, 1000))
    torch.testing.assert_close(clean.mean(0).flatten(), draws_of(teacher, 20_000, 0).mean(0).float(), rtol=0, atol=0.15)


@pytest.mark.parametrize("seeds", [None, [1]])
def test_a_stochastic_solver_needs_a_seed_per_sample(seeds: list[int] | None) -> None:
    teacher = mixture_teacher(1, 2, (1, 2, 2), seed=1)
    states = teacher.states(Start(noise_of(2, (1, 2, 2))), SolverSpec(kind="ddpm", steps=2), (999, 0), seeds)
    with pytest.raises(ValueError, match=r"one seed per sample, got [01] for 2 samples"):
        list(states)


@pytest.mark.parametrize("timesteps", [(499, 0), (999, 499)])
def test_states_are_asked_for_from_noise_to_clean(timesteps: tuple[int, ...]) -> None:
    teacher = mixture_teacher(1, 2, (1, 2, 2), seed=1)
    with pytest.raises(ValueError, match="must begin with the noise's"):
        list(teacher.states(Start(noise_of(2, (1, 2, 2))), SolverSpec(steps=4), timesteps))


def test_a_solver_that_visits_every_timestep_ends_at_the_clean_state() -> None:
    teacher = mixture_teacher(1, 2, (1, 1, 2), seed=9)
    noise = noise_of(2, (1, 1, 2), torch.float64)
    states = list(teacher.states(Start(noise), SolverSpec(steps=1000), (999, 1, 0)))
    matrix, shift = affine_flow_map(teacher, 500)
    assert len(states) == 3
    torch.testing.assert_close(states[-1].flatten(1), noise.flatten(1) @ matrix.T + shift, rtol=0, atol=0.02)


@pytest.mark.parametrize(("settings", "message"), [({"kind": "euler"}, "must be one of"), ({"steps": 0}, "positive")])
def test_solver_spec_refuses(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SolverSpec(**settings)


# -- identity ---------------------------------------------------------------------------------------------------------


def test_fingerprint_follows_the_content_and_not_the_place(teacher_folder: FolderMaker, tmp_path: Path) -> None:
    folder = teacher_folder()
    original = folder_fingerprint(folder)
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("a card changes nothing")
    assert folder_fingerprint(copy) == original
    weights = copy / "unet" / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert folder_fingerprint(copy) != original
    weights.write_bytes((folder / "unet" / WEIGHTS).read_bytes())
    assert folder_fingerprint(copy) == original
    for name in ("scheduler/scheduler_config.json", "unet/config.json"):
        path = copy / name
        before = path.read_text()
        path.write_text(json.dumps(json.loads(before) | {"note": 1}))
        assert folder_fingerprint(copy) != original
        path.write_text(before)


def test_name_is_the_folders_slug(teacher_folder: FolderMaker) -> None:
    assert load_teacher(str(teacher_folder("My Teacher_v2"))).name == "my-teacher-v2"
    assert slug("日本") == "teacher"


def test_half_precision_weights_run_in_float32(teacher_folder: FolderMaker) -> None:
    teacher = load_teacher(str(teacher_folder(unet=tiny_unet().half())))
    *_, clean = teacher.states(Start(noise_of(2)), SolverSpec(steps=2), (999, 0))
    assert clean.dtype == torch.float32
    assert torch.isfinite(clean).all()


def test_a_hub_snapshot_is_named_after_its_id(
    teacher_folder: FolderMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = teacher_folder("0123abcd")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **kwargs: str(snapshot))
    assert load_teacher("Some-Org/Nice.Model").name == "some-org-nice-model"


@pytest.mark.parametrize("device", ["tpu9", "mps", "cuda:99"])
def test_devices_that_are_not_there_are_refused(teacher_folder: FolderMaker, device: str) -> None:
    with pytest.raises(ValueError, match="device must be"):
        UNetTeacher(teacher_folder(), device=device)


def test_teachers_that_are_loaded_at_once_leave_torch_as_it_was(teacher_folder: FolderMaker) -> None:
    """Diffusers patches torch while it loads; two loads at once once left every later network without memory."""
    folder = str(teacher_folder())
    with ThreadPoolExecutor(4) as pool:
        teachers = list(pool.map(lambda _: load_teacher(folder), range(8)))
    weights = [next(iter(teacher.network.parameters())) for teacher in teachers]
    assert all(torch.equal(weight, weights[0]) for weight in weights)
    fresh = torch.nn.Linear(4, 4)
    assert fresh.weight.device.type == "cpu"
    assert 0 < fresh.weight.abs().max() <= 0.5


def test_the_embedded_names() -> None:
    assert set(EMBEDDED) == {"digits", "digits-classes", "emoji", "mixture"}
    assert EMBEDDED["mixture"]("cpu").space.shape == (1, 16, 16)
