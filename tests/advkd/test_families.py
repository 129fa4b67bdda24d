"""Each family of teachers the whole way: precompute, train, evaluate, register, reload with diffusers.

Folders are built and saved by diffusers, at tiny size with random weights. What a registered pipeline samples must be
what the student itself samples, decoded as the teacher decodes.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from advkd.diffusion import Labels, Prompts, embedded
from advkd.evaluation import EvaluateSpec, evaluate
from advkd.registry import RegisterSpec, register
from advkd.students import StudentSpec, load_student
from advkd.teachers import AUTO, SolverSpec, Teacher, load_teacher
from advkd.training import train
from advkd.trajectories import PrecomputeSpec, precompute
from storage import open_store, verify
from tests.advkd.conftest import tiny_train, tiny_unet
from tests.advkd.teachers.documented import documented_teacher
from tests.advkd.teachers.latents import dit_folder, ldm_folder
from tests.advkd.teachers.text_folders import (
    PROMPTS,
    flux_folder,
    prompt_file,
    sana_folder,
    stable_diffusion_3_folder,
    stable_diffusion_folder,
)

pytestmark = pytest.mark.slow
SAMPLES, STEPS, BATCH = 64, 50, 8


def unet(scheduler: Any = None, **network: Any) -> Callable[[Path], str]:
    def made(root: Path) -> str:
        own = scheduler or DDPMScheduler(clip_sample=False)
        DDPMPipeline(tiny_unet(**network), own).save_pretrained(root / "unet")
        return str(root / "unet")

    return made


def guided_unet(root: Path) -> str:
    return f"{unet(num_class_embeds=5)(root)}#guidance=4&null=4"


def text(make: Callable[[Path], Path], options: str) -> Callable[[Path], str]:
    return lambda root: f"{make(root / 'text')}#prompts={prompt_file(root)}{options}"


def in_python(root: Path) -> str:
    documented_teacher(root)
    return "my_package.teacher:small"


# What makes the source, and the solver that fits it.
FAMILIES: dict[str, tuple[Callable[[Path], str], str]] = {
    "unet": (unet(), "unipc"),
    "unet, guided labels": (guided_unet, "unipc"),
    "unet, v-prediction": (unet(DDPMScheduler(clip_sample=False, prediction_type="v_prediction")), "unipc"),
    "unet, flow matching": (unet(FlowMatchEulerDiscreteScheduler(shift=3.0)), "flow-euler"),
    "unet, EDM": (unet(EDMEulerScheduler()), "edm-dpmpp"),
    "ldm": (lambda root: str(ldm_folder(root / "ldm")), "unipc"),
    "ldm, labels": (lambda root: str(ldm_folder(root / "ldm", num_class_embeds=4)), "unipc"),
    "dit": (lambda root: f"{dit_folder(root / 'dit')}#guidance=2", "unipc"),
    "stable diffusion": (text(stable_diffusion_folder, "&guidance=3"), "unipc"),
    "stable diffusion 3": (text(stable_diffusion_3_folder, "&guidance=3"), "flow-euler"),
    "flux": (text(flux_folder, "&size=24x32&guidance=3"), "flow-euler"),
    "sana": (text(sana_folder, "&guidance=3"), "flow-euler"),
    "in python": (in_python, "flow-euler"),
}


IN_CI = ("unet, guided labels", "unet, EDM", "ldm, labels", "dit", "stable diffusion", "in python")
"""Each way to load, to condition and to decode; the others are combinations of theirs: `make test-sweep`."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def asked_of(teacher: Teacher) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Three conditions as the pipeline takes them, and as the student does."""
    numbers = torch.tensor([2, 0, 1])
    if isinstance(teacher.conditions, Labels):
        return {"class_labels": numbers.tolist()}, {"class_labels": numbers}
    if isinstance(teacher.conditions, Prompts):
        return {"prompt": [PROMPTS[k] for k in numbers]}, embedded(teacher.conditions, {"prompt": numbers})
    return {"batch_size": 3}, {}


@pytest.mark.parametrize(
    "name", [*IN_CI, *(pytest.param(name, marks=pytest.mark.sweep) for name in FAMILIES if name not in IN_CI)]
)
def test_a_family_goes_the_whole_way(name: str, root: Path) -> None:
    make, solver = FAMILIES[name]
    source = make(root)
    teacher = load_teacher(source)
    pinned = f"{source}#sha256={teacher.fingerprint}"
    made = precompute(
        PrecomputeSpec(
            teacher=pinned, store=str(root / "stores"), samples=SAMPLES, solver=SolverSpec(kind=AUTO, steps=4),
            captures=3, shard_samples=32, block_samples=16, dtype="float32",
        )
    )  # fmt: skip
    assert verify(made.uri) == []
    identity = open_store(made.uri).manifest.spec
    assert (identity.sampler, identity.fingerprint) == (solver, teacher.fingerprint)

    spec = tiny_train(
        student=StudentSpec(width=8, blocks=1), samples=BATCH * STEPS, batch_size=BATCH, checkpoint_every=BATCH * STEPS
    )
    assert len(list(train(spec, made.uri, root / "run"))) == STEPS

    report = evaluate(
        EvaluateSpec(
            student=str(root / "run"), teacher=pinned, out=str(root / "report"), references=str(root / "references"),
            features="none", samples=SAMPLES, solver=solver, solver_steps=4,
        )
    )  # fmt: skip
    assert report.sample_shape == teacher.space.image_shape
    assert all(0 < part.rmse_clean.value < float("inf") for part in report.submodules)

    registered = register(
        RegisterSpec(
            student=str(root / "run"), report=str(root / "report"), store=made.uri, out=str(root / "artifact"),
            runs=str(root / "mlflow"),
        )
    )  # fmt: skip
    assert registered.created
    pipe = DiffusionPipeline.from_pretrained(registered.uri, custom_pipeline=registered.uri, trust_remote_code=True)
    student = load_student(root / "run")
    asked, told = asked_of(teacher)
    expected = student.sample(3, 7, **told).images
    latents = pipe(**asked, seed=7, output_type="latent").images
    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-6)
    images = (teacher.space.decode(expected) / 2 + 0.5).clamp(0, 1)
    # Decoders may compute in other memory formats: their last bits differ.
    torch.testing.assert_close(pipe(**asked, seed=7, output_type="pt").images, images, rtol=0, atol=1e-5)
    assert images.shape[1:] == tuple(teacher.space.image_shape)
