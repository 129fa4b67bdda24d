"""Small real parts that the tests of the method share: teacher folders, stores, specs."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, UNet2DModel
from hypothesis import settings

import advkd.runtime.reporting
from advkd.cli.main import main
from advkd.discriminators import DiscriminatorSpec
from advkd.evaluation import METRICS, EvalReport, EvaluateSpec, cost
from advkd.evaluation.evaluation import evaluate
from advkd.students import StudentSpec
from advkd.teachers import EMBEDDED, SolverSpec
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.trajectories import PrecomputeSpec, precompute
from storage import TrajectorySpec, open_store
from tests.advkd.cli.calls import Cli, Result
from tests.advkd.evaluation.parts import Evaluated, gaussian_teacher, make_student
from tests.advkd.training.methods.paper_runs import PYRAMID
from tests.advkd.trajectories.forked import Forker, forker
from tests.made_once import made_once

os.environ["HF_HUB_OFFLINE"] = "1"
# Other work on the same cores must fail no test.
settings.register_profile("shared cores", deadline=None)
settings.load_profile("shared cores")
SIZE = 8
FolderMaker = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def each_is_timed_once() -> Iterator[None]:
    """An evaluation times samplers for four seconds, and no test but those of `evaluation.cost` reads the times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "MIN_REPEATS", 1)
        patch.setattr(cost, "MAX_REPEATS", 1)
        yield


def tiny_unet(seed: int = 0, **changes: object) -> UNet2DModel:
    """A random network of a few thousand weights for images of 8x8."""
    torch.manual_seed(seed)
    chosen: dict[str, object] = {
        "sample_size": SIZE,
        "in_channels": 1,
        "out_channels": 1,
        "layers_per_block": 1,
        "block_out_channels": (8, 8),
        "down_block_types": ("DownBlock2D",) * 2,
        "up_block_types": ("UpBlock2D",) * 2,
        "norm_num_groups": 4,
        "add_attention": False,
    }
    return UNet2DModel(**(chosen | changes))


@pytest.fixture
def teacher_folder(tmp_path: Path) -> FolderMaker:
    """Makes diffusers pipeline folders; a scheduler's settings can be given."""

    def make(
        name: str = "tiny", *, unet: UNet2DModel | None = None, pipeline: str = "ddpm", **scheduler: object
    ) -> Path:
        kind = {"ddpm": DDPMPipeline, "ddim": DDIMPipeline}[pipeline]
        folder = tmp_path / name
        kind(unet or tiny_unet(), DDPMScheduler(**{"clip_sample": False, **scheduler})).save_pretrained(folder)
        return folder

    return make


def mixture_spec(root: Path, **changes: object) -> PrecomputeSpec:
    """A store of the closed-form teacher: 3 shards of 16 in a quarter of a second."""
    chosen: dict[str, object] = {
        "teacher": "mixture",
        "store": str(root),
        "samples": 48,
        "solver": SolverSpec(steps=4),
        "captures": 2,
        "shard_samples": 16,
        "block_samples": 8,
        "dtype": "float32",
    }
    return PrecomputeSpec(**(chosen | changes))


@pytest.fixture(scope="session")
def mixture_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of a sealed store that tests only read."""
    return precompute(mixture_spec(tmp_path_factory.mktemp("stores"))).uri


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """A small student of one Gaussian beside its teacher, named "gaussian"; tests only read it."""

    def asked(root: Path) -> EvaluateSpec:
        return EvaluateSpec(
            student=str(root / "run"),
            teacher="gaussian",
            out=str(root / "report"),
            references=str(root / "references"),
            features="digits",
            samples=160,
            trajectory_samples=96,
        )

    def make(root: Path) -> None:
        teacher = gaussian_teacher()
        make_student(teacher).save_pretrained(root / "run" / "student")
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(EMBEDDED, "gaussian", lambda device: teacher)
            evaluate(asked(root))

    root = made_once(tmp_path_factory, "evaluated", make)
    report = EvalReport.from_json((root / "report" / METRICS).read_bytes())
    return Evaluated(asked(root), report, root / "report")


@pytest.fixture(scope="session")
def fork() -> Iterator[Forker]:
    """Runs calls and commands in real processes that start in milliseconds."""
    with forker() as found:
        yield found


def tiny_train(**changes: object) -> TrainSpec:
    """12 steps: 6 of distillation, 6 with the discriminator, a checkpoint after every 3."""
    chosen: dict[str, object] = {
        "student": StudentSpec(width=8, blocks=1),
        "discriminator": DiscriminatorSpec(width=8),
        "samples": 96,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "rise_samples": 16,
        "warmup": 0.5,
        "penalty_every": 2,
        "ema_halflife": 32.0,
        "window": 2,
        "checkpoint_every": 24,
        "report_every": 1,
    }
    return TrainSpec(**(chosen | changes))


@pytest.fixture(scope="session")
def pyramid_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ancestral trajectories of the closed-form teacher, each state at its submodule's side."""
    solver = SolverSpec(kind="ddpm", steps=10)
    root = tmp_path_factory.mktemp("pyramid")
    return precompute(mixture_spec(root, solver=solver, captures=3, resolutions=PYRAMID)).uri


@pytest.fixture(scope="session")
def pyramid_facts(pyramid_store: str) -> TrajectorySpec:
    return open_store(pyramid_store).manifest.spec


def write_spec(path: Path, **changes: object) -> Path:
    """A file for `--spec`: `tiny_train` with changes."""
    path.write_text(json.dumps(asdict(tiny_train(**changes))))
    return path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `advkd ARGS` in this process through the real entry point."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["advkd", *map(str, arguments)])
        advkd.runtime.reporting.console.cache_clear()
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
        finally:
            advkd.runtime.reporting.console.cache_clear()
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call
