"""Training: resumed equals uninterrupted, every game runs, and what fails leaves the last good checkpoint."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from advkd.losses import ADVERSARIAL
from advkd.students import StudentSpec
from advkd.students.loading import load_student
from advkd.training.checkpoint import checkpoints
from advkd.training.loop import StepMetrics, train
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.table import build_method
from advkd.trajectories import precompute
from storage import open_store
from storage.records.seeding import initial_noise
from tests.advkd.conftest import mixture_spec, tiny_train


def hashes(out: Path) -> dict[str, str]:
    """What a run is: the exported student, and all tensors of its last checkpoint."""
    files = [*(out / "student").iterdir(), *checkpoints(out)[-1].glob("*.safetensors")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(spec: TrainSpec, store: str, out: Path, stop_at: int | None = None) -> list[StepMetrics]:
    """Trains to the end, or until `stop_at` samples were seen; then closes the generator as a stopping caller does."""
    found = []
    steps = train(spec, store, out)
    for step in steps:
        found.append(step)
        if stop_at is not None and step.samples >= stop_at:
            steps.close()
    return found


@pytest.fixture(scope="module")
def uninterrupted(
    mixture_store: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[list[StepMetrics], dict[str, str]]]]:
    """Metrics and hashes of one whole run per precision."""
    torch.set_num_threads(1)
    found = {}
    for precision in ("float32", "bfloat16"):
        out = tmp_path_factory.mktemp(precision)
        metrics = run(tiny_train(precision=precision), mixture_store, out)
        found[precision] = (metrics, hashes(out))
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "stops",
    [(24,), (32,), (48,), (40, 56), (72, 88), (16, 16, 24, 32, 56, 80)],
    ids=["at a checkpoint", "between", "at the warm-up's end", "over the warm-up's end", "adversarial", "often"],
)
def test_resumed_is_bit_identical_to_uninterrupted(
    uninterrupted: dict[str, tuple[list[StepMetrics], dict[str, str]]],
    mixture_store: str,
    tmp_path: Path,
    precision: str,
    stops: tuple[int, ...],
) -> None:
    spec = tiny_train(precision=precision)
    for stop in stops:
        run(spec, mixture_store, tmp_path, stop)
    rest = run(spec, mixture_store, tmp_path)
    metrics, expected = uninterrupted[precision]
    assert hashes(tmp_path) == expected
    comparable = [{k: v for k, v in asdict(step).items() if not k.endswith("seconds")} for step in metrics]
    assert [{k: v for k, v in asdict(s).items() if not k.endswith("seconds")} for s in rest] == comparable[-len(rest) :]


def test_the_hashes_can_differ(
    uninterrupted: dict[str, tuple[list[StepMetrics], dict[str, str]]], mixture_store: str, tmp_path: Path
) -> None:
    run(tiny_train(seed=1), mixture_store, tmp_path)
    others = [uninterrupted[precision][1] for precision in ("float32", "bfloat16")]
    for other in others:
        differing = {name for name, value in hashes(tmp_path).items() if other[name] != value}
        assert {"diffusion_pytorch_model.safetensors", "student.safetensors", "ema.safetensors"} <= differing


@pytest.mark.parametrize("report_every", [3, 1000])
def test_reports_change_no_weight(
    uninterrupted: dict[str, tuple[list[StepMetrics], dict[str, str]]],
    mixture_store: str,
    tmp_path: Path,
    report_every: int,
) -> None:
    metrics = run(tiny_train(report_every=report_every), mixture_store, tmp_path)
    assert hashes(tmp_path) == uninterrupted["float32"][1]
    assert [step.samples for step in metrics] == ([24, 48, 72, 96] if report_every == 3 else [96])


def test_the_global_random_state_does_not_matter_and_is_left_alone(
    uninterrupted: dict[str, tuple[list[StepMetrics], dict[str, str]]], mixture_store: str, tmp_path: Path
) -> None:
    torch.manual_seed(12345)
    before = torch.random.get_rng_state()
    state = build_method(tiny_train(), open_store(mixture_store).manifest.spec).state
    assert torch.equal(torch.random.get_rng_state(), before)
    assert state.samples == 0
    run(tiny_train(), mixture_store, tmp_path)
    assert hashes(tmp_path) == uninterrupted["float32"][1]


def test_a_finished_run_yields_nothing_and_stays_as_it_is(mixture_store: str, tmp_path: Path) -> None:
    run(tiny_train(), mixture_store, tmp_path)
    before = hashes(tmp_path)
    assert run(tiny_train(), mixture_store, tmp_path) == []
    assert hashes(tmp_path) == before


def test_a_lost_student_folder_is_exported_again(mixture_store: str, tmp_path: Path) -> None:
    run(tiny_train(), mixture_store, tmp_path)
    before = hashes(tmp_path)
    for path in (tmp_path / "student").iterdir():
        path.unlink()
    run(tiny_train(), mixture_store, tmp_path)
    assert hashes(tmp_path) == before


def test_phases_clock_and_rates(uninterrupted: dict[str, tuple[list[StepMetrics], dict[str, str]]]) -> None:
    metrics = uninterrupted["float32"][0]
    assert [step.samples for step in metrics] == list(range(8, 97, 8))
    assert [step.phase for step in metrics] == ["distillation"] * 6 + ["adversarial"] * 6
    assert all(step.total == 96 for step in metrics)
    for step in metrics[:6]:
        assert (step.adversarial, step.discriminator, step.margin, step.adversarial_scale) == (0.0, 0.0, 0.0, 0.0)
    for step in metrics[6:]:
        assert step.discriminator > 0
        assert step.adversarial_scale > 0
    # Half of the rise of 16 samples at first, all of it at the second step; then half a cosine to zero.
    falling = [0.5 * 1e-3 * (1.0 + math.cos(math.pi * samples / 96)) for samples in range(0, 96, 8)]
    assert [step.learning_rate for step in metrics] == pytest.approx([0.5 * falling[0], *falling[1:]], rel=1e-9)


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_every_game_runs_to_the_end(mixture_store: str, tmp_path: Path, name: str, precision: str) -> None:
    spec = tiny_train(adversarial=name, warmup=0.25, precision=precision, samples=64)
    metrics = run(spec, mixture_store, tmp_path)
    assert len(metrics) == 8
    assert all(math.isfinite(value) for step in metrics for value in asdict(step).values() if value != step.phase)
    assert load_student(tmp_path)(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 16, 16)


def test_a_warm_up_over_the_whole_run_never_starts_the_game(mixture_store: str, tmp_path: Path) -> None:
    assert not any(step.phase == "adversarial" for step in run(tiny_train(warmup=1.0), mixture_store, tmp_path))


@pytest.mark.thorough
def test_the_student_learns_its_teacher(tmp_path: Path) -> None:
    """The averaged student's error on the cached trajectories falls to less than half of the untrained one's."""
    store = precompute(mixture_spec(tmp_path / "stores", samples=128, shard_samples=64, block_samples=64)).uri
    spec = tiny_train(
        student=StudentSpec(width=16, blocks=1),
        samples=8192,
        batch_size=32,
        learning_rate=1e-2,
        report_every=32,
        warmup=0.8,
    )
    metrics = run(spec, store, tmp_path / "run")
    assert metrics[-1].distillation < 0.6 * metrics[0].distillation
    noise = torch.from_numpy(initial_noise(0, 0, 128, (1, 16, 16)))
    states = open_store(store).read_samples(range(128))
    clean = torch.from_numpy(states[0])
    error = (load_student(tmp_path / "run")(noise) - clean).square().mean()
    assert error < 0.5 * (clean - clean.mean(0)).square().mean()


def test_the_average_lags_behind_the_weights(mixture_store: str, tmp_path: Path) -> None:
    """With a half-life of zero samples the exported student is the trained one; else it is not."""
    from safetensors.torch import load_file

    for halflife, equal in ((0.0, True), (32.0, False)):
        out = tmp_path / str(halflife)
        run(tiny_train(ema_halflife=halflife), mixture_store, out)
        averaged = load_file(out / "student" / "diffusion_pytorch_model.safetensors")
        trained = load_file(checkpoints(out)[-1] / "student.safetensors")
        assert averaged.keys() == trained.keys()
        close = all(torch.allclose(averaged[name], trained[name], rtol=1e-6, atol=1e-9) for name in averaged)
        assert close == equal


def test_an_extension_of_the_store_leaves_a_run_as_it_began(tmp_path: Path) -> None:
    """A store may grow while a run is stopped: the run goes on with the samples that it began with."""
    spec = mixture_spec(tmp_path / "stores", samples=32)
    store = precompute(spec).uri
    run(tiny_train(), store, tmp_path / "whole")
    run(tiny_train(), store, tmp_path / "stopped", stop_at=40)
    assert precompute(mixture_spec(tmp_path / "stores", samples=48)).uri == store
    run(tiny_train(), store, tmp_path / "stopped")
    assert hashes(tmp_path / "stopped") == hashes(tmp_path / "whole")


def test_a_run_on_some_trajectories_is_one_on_a_store_that_has_no_others(tmp_path: Path) -> None:
    store = precompute(mixture_spec(tmp_path / "stores", samples=32)).uri
    run(tiny_train(), store, tmp_path / "small")
    assert precompute(mixture_spec(tmp_path / "stores", samples=48)).uri == store
    run(tiny_train(trajectories=32), store, tmp_path / "part")
    run(tiny_train(), store, tmp_path / "all")
    weights = {name: hashes(tmp_path / name) for name in ("small", "part", "all")}
    assert weights["part"] == weights["small"]
    assert weights["all"] != weights["small"]


def test_a_run_on_more_trajectories_than_there_are_is_refused(mixture_store: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[1, \d+\], the store's size, got 100000"):
        run(tiny_train(trajectories=100_000), mixture_store, tmp_path)
    assert not (tmp_path / "checkpoints").exists()
