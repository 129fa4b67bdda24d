"""The paper's recipe: its spec, stores that do not fit it, and the way to a registered model."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from advkd.evaluation.evaluation import EvaluateSpec, evaluate
from advkd.export.artifact import export_artifact
from advkd.export.lineage import lineage_of
from advkd.presets import PRESETS
from advkd.students.loading import load_student
from advkd.teachers import EMBEDDED, SolverSpec, load_teacher
from advkd.training.methods.paper_spec import RELEASED, PaperSpec
from advkd.training.methods.spec_json import train_spec_from_json
from advkd.training.methods.table import build_method
from advkd.trajectories import precompute, trajectory_spec
from storage import TrajectorySpec, open_store
from tests.advkd.conftest import mixture_spec
from tests.advkd.evaluation.parts import gaussian_teacher
from tests.advkd.training.methods.paper_runs import PYRAMID, tiny_paper
from tests.advkd.training.test_loop import run
from tests.advkd.trajectories.forked import Forker


def test_a_paper_spec_goes_through_json() -> None:
    spec = tiny_paper(timesteps=(999, 499, 0), **{**RELEASED, "ema_halflife": 3.0})
    assert train_spec_from_json(json.loads(json.dumps(asdict(spec)))) == spec
    assert train_spec_from_json({"method": "paper"}) == PaperSpec()
    with pytest.raises(ValueError, match=r"PaperSpec must be an object .* got \['warmup'\]"):
        train_spec_from_json({"method": "paper", "warmup": 0.4})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_noise": "none"}, r"PaperSpec\.input_noise must be one of .* got 'none'"),
        ({"discriminator_norm": "layer"}, r"PaperSpec\.discriminator_norm must be one of"),
        ({"weight_clip": 0.0}, r"PaperSpec\.weight_clip must be positive and finite"),
        ({"penalty_every": 0}, r"PaperSpec\.penalty_every must be a positive whole number, got 0"),
        ({"width": 0}, r"PaperSpec\.width must be a positive whole number"),
        ({"beta1": 1.0}, r"PaperSpec\.beta1 must lie in \[0, 1\)"),
        ({"penalty_weight": -1.0}, r"PaperSpec\.penalty_weight must be finite and not negative"),
        ({"samples": 4}, r"PaperSpec\.samples must be at least batch_size"),
    ],
)
def test_paper_spec_refuses(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_paper(**changes)


@pytest.mark.parametrize(
    ("store", "changes", "message"),
    [
        ({}, {"samples": 40}, "a step for each of its 3 phases"),
        ({}, {"timesteps": (999, 0)}, "16x16 images need 2 states besides the noise, got 1; precompute"),
        ({"resolutions": ((16, 16), (4, 4), (8, 8), (16, 16))}, {}, "stored at its submodule's side .* got 4x4 .* 8x8"),
        ({"resolutions": ((16, 16), (8, 8), (8, 8), (8, 8))}, {}, "got 8x8 at timestep 0 for submodule 3"),
        ({"resolutions": ((2, 2), *PYRAMID[1:])}, {}, r"at least 4x4 .* got 2x2; precompute it at 16x16"),
        ({"resolutions": ((8, 8), *PYRAMID[1:])}, {"input_noise": "clipped"}, r"at least 16x16 .*clipped.* got 8x8"),
        ({"sample_shape": (1, 16, 32), "resolutions": None}, {}, "square images .* got 16x32"),
    ],
)
def test_a_store_that_does_not_fit_is_refused(
    pyramid_facts: TrajectorySpec, store: dict[str, object], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_method(tiny_paper(**changes), replace(pyramid_facts, **store))


def test_the_preset_fits_itself() -> None:
    chosen = PRESETS["paper"]
    assert isinstance(chosen.train, PaperSpec)
    assert not chosen.precompute.solver.deterministic
    store = trajectory_spec(chosen.precompute, load_teacher("mixture"))
    built = build_method(chosen.train, store)
    assert store.timesteps == (999, 749, 499, 249, 0)
    assert [store.state_shape(t)[1] for t in store.timesteps[1:]] == list(built.state.student.sides)


# -- the whole way -----------------------------------------------------------------------------------------------------


LOADS = """
import sys
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file

pipe = DiffusionPipeline.from_pretrained(sys.argv[1], custom_pipeline=sys.argv[1], trust_remote_code=True)
given = load_file(sys.argv[2])
with torch.no_grad():
    assert torch.equal(pipe.student(given["noise"]), given["clean"])
"""


@pytest.mark.slow
def test_a_stochastic_store_ends_in_a_model_that_diffusers_loads(
    fork: Forker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = gaussian_teacher()
    monkeypatch.setitem(EMBEDDED, "gaussian", lambda device: teacher)
    wanted = {"teacher": "gaussian", "solver": SolverSpec(kind="ddpm", steps=10), "captures": 3, "resolutions": PYRAMID}
    store = precompute(mixture_spec(tmp_path / "stores", **wanted)).uri
    student = tmp_path / "student"
    run(tiny_paper(), store, student)
    spec = EvaluateSpec(
        student=str(student),
        teacher="gaussian",
        out=str(tmp_path / "report"),
        references=str(tmp_path / "references"),
        features="digits",
        samples=64,
        trajectory_samples=16,
    )
    report = evaluate(spec)
    assert report.timesteps == open_store(store).manifest.spec.timesteps
    assert [math.isfinite(fd.value) for part in report.submodules for fd in part.fd_state] == [True] * 3
    assert report.cost.student.params == sum(p.numel() for p in load_student(student).parameters())
    assert "no function of the noise" in " ".join((tmp_path / "report" / "report.html").read_text().split())
    artifact = export_artifact(student, tmp_path / "model", lineage_of(str(student), report, store), report)
    assert (artifact / "student" / "progressive_student.py").is_file()
    assert "progressive_student.py" in (artifact / "README.md").read_text()
    noise = torch.randn(2, 1, 16, 16)
    given = {"noise": noise, "clean": load_student(student)(noise).contiguous()}
    save_file(given, tmp_path / "given.safetensors")
    loaded = fork.application(LOADS, artifact, tmp_path / "given.safetensors", folder=tmp_path)
    assert loaded.code == 0, loaded.err
