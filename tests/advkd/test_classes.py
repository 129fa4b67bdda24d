"""A class-conditional teacher the whole way: precompute, train, evaluate, sample, export, reload with diffusers."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image
from safetensors.torch import load_file

from advkd.diffusion import drawn_condition
from advkd.evaluation import EvaluateSpec, EvaluationError, evaluate
from advkd.evaluation.teacher_states import evaluation_start
from advkd.export import ExportSpec, export_student
from advkd.students import LayerwiseStudent, StudentSpec, load_student
from advkd.teachers import SolverSpec, Teacher, load_teacher
from advkd.training import train
from advkd.trajectories import PrecomputeSpec, precompute
from storage import open_store
from storage.records import initial_noise
from tests.advkd.cli.calls import Cli, assert_refused
from tests.advkd.conftest import tiny_train
from tests.advkd.trajectories.forked import Forker

pytestmark = pytest.mark.thorough
SHAPE = (3, 16, 16)
SHADES = torch.tensor([-0.8, -0.4, 0.0, 0.4, 0.8])
NAMES = ["black", "dark", "grey", "light", "white"]
APPLICATION = """
import sys
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

folder, out = sys.argv[1:]
pipe = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
latents = {"seed": 7, "output_type": "latent"}
found = {
    "list": pipe(class_labels=[4, 0, 2], **latents).images,
    "names": pipe(class_labels=["white", "black", "grey"], **latents).images,
    "tensor": pipe(class_labels=torch.tensor([4, 0, 2]), **latents).images,
    "one": pipe(class_labels=3, batch_size=9, **latents).images,
    "sample": pipe.student.sample(3, 7, class_labels=torch.tensor([4, 0, 2])).images,
}
assert len(pipe(class_labels="dark").images) == 1
drawn = {"generator": torch.Generator().manual_seed(1), "class_labels": [1, 1, 2]}
assert pipe(output_type="pt", **drawn).images.shape == (3, 3, 16, 16)
assert pipe(noise=torch.randn(2, 3, 16, 16), class_labels=4, output_type="pt").images.shape == (2, 3, 16, 16)
for wrong in (
    {"seed": 1},
    {},
    {"class_labels": 5},
    {"class_labels": "red"},
    {"class_labels": [0, -1]},
    {"class_labels": [0, 1, 2], "batch_size": 2},
):
    try:
        pipe(**wrong)
    except ValueError as error:
        print(error)
    else:
        raise AssertionError(wrong)
save_file({name: images.contiguous() for name, images in found.items()}, out)
"""


def bright_unet() -> UNet2DModel:
    """Shows every class as a shade of its own: a network that was trained on such images for seconds."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=2,
        num_class_embeds=5,
        add_attention=False,
    )
    scheduler = DDPMScheduler()
    optimizer = torch.optim.Adam(unet.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(120):
        labels = torch.randint(5, (16,), generator=generator)
        times = torch.randint(1000, (16,), generator=generator)
        clean = SHADES[labels].view(-1, 1, 1, 1).expand(16, *SHAPE)
        noisy = scheduler.add_noise(clean, torch.randn(clean.shape, generator=generator), times)
        loss = (unet(noisy, times, class_labels=labels).sample - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return unet


@dataclass(frozen=True)
class Classes:
    """A teacher's folder, its store and the student of it."""

    teacher: Path
    store: str
    run: Path

    def student(self) -> LayerwiseStudent:
        return load_student(self.run)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Classes:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("classes")
    scheduler = DDPMScheduler(prediction_type="sample", clip_sample=False)
    DDPMPipeline(bright_unet(), scheduler).save_pretrained(root / "shades")
    index = root / "shades" / "model_index.json"
    named = {"id2label": {str(k): name for k, name in enumerate(NAMES)}}
    index.write_text(json.dumps(json.loads(index.read_text()) | named))
    made = precompute(
        PrecomputeSpec(
            teacher=str(root / "shades"), store=str(root / "stores"), samples=256, solver=SolverSpec(steps=4),
            captures=3, shard_samples=64, block_samples=16, dtype="float32",
        )
    )  # fmt: skip
    spec = tiny_train(
        student=StudentSpec(width=16, blocks=1), samples=32 * 90, batch_size=32, learning_rate=1e-2, rise_samples=320,
        warmup=0.7, checkpoint_every=32 * 90, report_every=30,
    )  # fmt: skip
    list(train(spec, made.uri, root / "run"))
    return Classes(root / "shades", made.uri, root / "run")


@pytest.fixture(scope="module")
def teacher(classes: Classes) -> Teacher:
    return load_teacher(str(classes.teacher))


def brightness(images: torch.Tensor) -> torch.Tensor:
    return images.mean((1, 2, 3))


def test_a_store_holds_its_teachers_classes_and_each_samples_label_follows(classes: Classes, teacher: Teacher) -> None:
    reader = open_store(classes.store)
    identity = reader.manifest.spec
    facts = {"kind": "labels", "names": NAMES, "distribution": "uniform"}
    assert identity.conditioning == teacher.conditions.facts == facts
    drawn = drawn_condition(teacher.conditions, identity.base_seed, range(64))["class_labels"]
    assert set(drawn.tolist()) == set(range(5))
    found = torch.from_numpy(reader.read_samples(range(64), [0])[0])
    torch.testing.assert_close(brightness(found), SHADES[drawn], rtol=0, atol=0.12)


def test_a_store_is_whole_and_shows_its_classes(classes: Classes, cli: Cli) -> None:
    assert cli("cache", "verify", classes.store).code == 0
    assert "black" in cli("cache", "show", classes.store).out
    assert "light" in cli("teacher", "show", classes.teacher).out


def test_the_student_shows_the_class_that_it_is_asked_for(classes: Classes) -> None:
    student = classes.student()
    noise = torch.from_numpy(initial_noise(11, 0, 40, SHAPE))
    for label, shade in enumerate(SHADES):
        images = student(noise, class_labels=torch.full((40,), label))
        found = brightness(images)
        nearest = (found[:, None] - SHADES).abs().argmin(1)
        assert (nearest == label).float().mean() > 0.95, (label, float(shade), found)


def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_one(classes: Classes, tmp_path: Path) -> None:
    spec = tiny_train()
    list(train(spec, classes.store, tmp_path / "whole"))
    for metrics in train(spec, classes.store, tmp_path / "halves"):
        if metrics.samples == 56:
            break
    list(train(spec, classes.store, tmp_path / "halves"))
    whole, halves = (
        load_file(tmp_path / name / "student" / "diffusion_pytorch_model.safetensors") for name in ("whole", "halves")
    )
    assert whole.keys() == halves.keys() >= {"embedding.weight", "films.0.linear.weight"}
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_an_evaluation_gives_student_and_teacher_the_same_labels(
    classes: Classes, teacher: Teacher, tmp_path: Path
) -> None:
    spec = EvaluateSpec(
        student=str(classes.run), teacher=str(classes.teacher), out=str(tmp_path / "report"), features="none",
        references=str(tmp_path), samples=32,
    )  # fmt: skip
    report = evaluate(spec)
    # Shades of two samples are 0.8 apart (root mean square) where the labels are not the same.
    assert all(part.rmse_clean.value < 0.4 for part in report.submodules), report.submodules
    scores = json.loads((tmp_path / "report" / "classes.json").read_text())
    start = evaluation_start(teacher, spec.seed, 32)
    counts = torch.bincount(start.condition["class_labels"], minlength=5).tolist()
    assert {one["label"]: (one["name"], one["samples"]) for one in scores} == {
        label: (NAMES[label], count) for label, count in enumerate(counts) if count
    }
    assert [one["rmse"] for one in scores] == sorted((one["rmse"] for one in scores), reverse=True)
    squares = sum(one["samples"] * one["rmse"] ** 2 for one in scores)
    assert squares / 32 == pytest.approx(report.submodules[-1].rmse_clean.value ** 2, rel=1e-6)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "5 of 5 classes" in page
    assert "4 white" in page


def test_a_teacher_of_other_classes_is_refused(classes: Classes, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in classes.teacher.rglob("*"):
        target = other / path.relative_to(classes.teacher)
        target.mkdir(parents=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    index = other / "model_index.json"
    index.write_text(json.dumps({k: v for k, v in json.loads(index.read_text()).items() if k != "id2label"}))
    assert load_teacher(str(other)).conditions.facts == {"kind": "labels", "classes": 5, "distribution": "uniform"}
    spec = EvaluateSpec(student=str(classes.run), teacher=str(other), out=str(tmp_path / "report"), references="")
    with pytest.raises(EvaluationError, match=r'must have the same conditions, got .*"black".* and .*"classes": 5'):
        evaluate(spec)


def test_the_paper_s_method_refuses_labels(classes: Classes, tmp_path: Path, cli: Cli) -> None:
    refused = cli("train", "--store", classes.store, "--out", tmp_path / "run", "--preset", "paper")
    assert_refused(refused, "takes noise alone, got a store conditioned on 'labels'")


def test_samples_on_the_command_line(classes: Classes, tmp_path: Path, cli: Cli) -> None:
    def shades(*labels: str, n: int = 4) -> list[int]:
        made = cli("sample", classes.run, "--n", n, "--seed", 3, "--out", tmp_path / "grid.png", *labels)
        assert made.code == 0, made.err
        grid = torch.from_numpy(np.asarray(Image.open(tmp_path / "grid.png").convert("L"), dtype=np.float32))
        side = int(n**0.5)
        cells = grid.unfold(0, len(grid) // side, len(grid) // side).unfold(1, len(grid) // side, len(grid) // side)
        means = cells.reshape(n, -1).median(1).values / 127.5 - 1
        return [int(one) for one in (means[:, None] - SHADES).abs().argmin(1)]

    assert shades("--label", "white") == [4] * 4
    assert shades("--label", "0", "--label", "4") == [0, 4, 0, 4]
    assert shades("--label", "all", n=9) == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    drawn = drawn_condition(classes.student().labels, 3, range(9))["class_labels"].tolist()
    assert shades(n=9) == drawn
    sample = ("sample", classes.run, "--out", tmp_path / "other.png", "--label")
    known = "a label must be one of 0 'black', 1 'dark', 2 'grey', 3 'light', 4 'white'"
    assert_refused(cli(*sample, "5"), known, "got '5'")
    assert_refused(cli(*sample, "red"), known, "got 'red'")
    assert not (tmp_path / "other.png").exists()


def test_diffusers_loads_the_export_and_gives_the_same_samples(fork: Forker, classes: Classes, tmp_path: Path) -> None:
    folder = export_student(ExportSpec(student=str(classes.run), out=str(tmp_path / "model"), format="diffusers"))
    card = (tmp_path / "model" / "README.md").read_text()
    assert "class_labels=0" in card
    assert "4 'white'" in card
    assert "unconditional-image-generation" not in card
    run = fork.application(APPLICATION, folder, tmp_path / "out.safetensors", folder=tmp_path)
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    assert lines[0] == lines[1]
    assert "needs one for each image, got none; give class_labels, of 0 'black'" in lines[0]
    assert ["got 5" in lines[2], "got 'red'" in lines[3], "got -1" in lines[4]] == [True] * 3
    assert "class_labels must be one, or as many as images (2), got 3; give one for each image" in lines[5]
    found, student = load_file(tmp_path / "out.safetensors"), classes.student()
    expected = student.sample(3, 7, class_labels=torch.tensor([4, 0, 2])).images
    for way in ("list", "names", "tensor", "sample"):
        assert torch.equal(found[way], expected), way
    assert torch.equal(found["one"], student.sample(9, 7, class_labels=torch.full((9,), 3)).images)
