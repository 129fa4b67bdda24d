import ast
import errno
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from advkd.evaluation.teacher_states import evaluation_noise
from advkd.export import bundle as source
from advkd.export.artifact import artifact_digest, export_artifact
from advkd.export.bundle import bundle_source
from advkd.export.lineage import Lineage, public_uri
from advkd.students import LayerwiseStudent
from advkd.students.loading import StudentError, load_student
from tests.advkd.evaluation.parts import Evaluated
from tests.advkd.trajectories.forked import Forker

APPLICATION = """
import sys
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

folder, noises, out = sys.argv[1:]
pipe = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
pipe.set_progress_bar_config(disable=True)
noise = load_file(noises)["noise"]
with torch.no_grad():
    clean = pipe.student(noise)
images = pipe(noise=noise, output_type="pt").images
one = pipe(batch_size=3, generator=torch.Generator().manual_seed(5), output_type="pt").images
two = pipe(batch_size=3, generator=torch.Generator().manual_seed(5), output_type="np", return_dict=False)[0]
assert two.shape == (3, 16, 16, 1)
torch.testing.assert_close(torch.from_numpy(two).permute(0, 3, 1, 2), one)
each = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
assert pipe(batch_size=2, generator=each, output_type="pt").images.shape == (2, 1, 16, 16)
pictures = pipe(batch_size=2).images
assert [picture.size for picture in pictures] == [(16, 16)] * 2
sampled = pipe.student.sample(3, seed=7, states=True)
assert [tuple(state.shape) for state in sampled.states] == [(3, 1, 16, 16)] * (len(pipe.student.timesteps) - 1)
seeded = pipe(batch_size=3, seed=7, output_type="pt").images
for wrong in (
    {"output_type": "uint8"},
    {"noise": torch.zeros(2, 3, 8, 8)},
    {"num_inference_steps": 50},
    {"batch_size": 0},
    {"batch_size": 0, "seed": 1},
    {"batch_size": 3, "generator": each},
    {"seed": 1, "generator": each},
):
    try:
        pipe(**wrong)
    except ValueError as error:
        print(error)
    else:
        raise AssertionError(wrong)
halves = pipe.to(torch.float16)(noise=noise, num_inference_steps=1, output_type="pt").images
assert halves.dtype == torch.float16
torch.testing.assert_close(halves.float(), images, rtol=0, atol=2e-3)
tensors = {"clean": clean, "images": images, "sampled": sampled.images, "seeded": seeded}
save_file({name: value.contiguous() for name, value in tensors.items()}, out)
"""


@pytest.fixture(scope="module")
def lineage(evaluated: Evaluated) -> Lineage:
    return Lineage(
        teacher="gaussian",
        teacher_fingerprint=evaluated.report.teacher_fingerprint,
        store="s3://bucket/stores/gaussian/0123",
        store_digest="d" * 64,
        train={"batch_size": 64, "student": {"width": 8}},
        code_revision="c" * 40,
        base_model="owner/teacher",
    )


@pytest.fixture(scope="module")
def artifact(evaluated: Evaluated, lineage: Lineage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artifact") / "model"
    return export_artifact(evaluated.spec.student, out, lineage, evaluated.report)


def test_diffusers_loads_it_where_advkd_is_not_installed(
    fork: Forker, artifact: Path, evaluated: Evaluated, tmp_path: Path
) -> None:
    noise = evaluation_noise(3, 20, (1, 16, 16))
    save_file({"noise": noise}, tmp_path / "noise.safetensors")
    files = (tmp_path / "noise.safetensors", tmp_path / "out.safetensors")
    run = fork.application(APPLICATION, artifact, *files, folder=tmp_path)
    assert run.code == 0, run.err
    assert "output_type must be one of ('pil', 'np', 'pt', 'latent'), got 'uint8'" in run.out
    assert "noise must have the shape [B, *(1, 16, 16)], got (2, 3, 8, 8)" in run.out
    assert "num_inference_steps must be 1 for a student, got 50; leave it out" in run.out
    assert "batch_size must be positive, got 0" in run.out
    assert "the number of images must be positive, got 0" in run.out
    assert "generators must be as many as images (3), got 2; give one for each" in run.out
    assert "noise must come from one source, got generator and seed; give one of them" in run.out
    found = load_file(tmp_path / "out.safetensors")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    student = load_student(evaluated.spec.student)
    expected, sampled = student(noise), student.sample(3, seed=7).images
    torch.set_num_threads(threads)
    assert torch.equal(found["clean"], expected)
    assert torch.equal(found["images"], (expected / 2 + 0.5).clamp(0, 1))
    assert torch.equal(found["sampled"], sampled)
    assert torch.equal(found["seeded"], (sampled / 2 + 0.5).clamp(0, 1))


def test_the_folder_holds_these_files_and_no_machine_s_path(artifact: Path) -> None:
    names = {path.relative_to(artifact).as_posix() for path in artifact.rglob("*") if path.is_file()}
    assert names == {
        "MLmodel",
        "README.md",
        "model_index.json",
        "pipeline.py",
        "student/config.json",
        "student/diffusion_pytorch_model.safetensors",
        "student/layerwise_student.py",
    }
    for name in names:
        text = (artifact / name).read_bytes()
        for path in (str(Path.cwd()), str(Path.home()), "/tmp", str(artifact.parent)):
            assert path.encode() not in text, (name, path)


def test_the_code_in_it_imports_torch_numpy_and_diffusers_alone(artifact: Path) -> None:
    for name in ("pipeline.py", "student/layerwise_student.py"):
        tree = ast.parse((artifact / name).read_text())
        imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        imported |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert imported <= {"torch", "numpy", "diffusers", *sys.stdlib_module_names}


def test_the_card_says_what_how_good_and_where_from(artifact: Path, evaluated: Evaluated, lineage: Lineage) -> None:
    card = (artifact / "README.md").read_text()
    assert card.startswith("---\nbase_model: owner/teacher\nlibrary_name: diffusers\n")
    report = evaluated.report
    for fact in (
        "trust_remote_code=True",
        "FD(digits)",
        "160 / 160",
        "Not comparable: 160 images.",
        "100 steps of unipc: a fine solution",
        report.teacher_fingerprint,
        report.student_sha256,
        lineage.store,
        lineage.store_digest,
        lineage.code_revision,
        '"batch_size": 64',
    ):
        assert fact in card


def test_the_hub_s_own_classes_read_the_front_matter(artifact: Path, evaluated: Evaluated) -> None:
    # A model index that the hub would refuse is an error here.
    card = ModelCard((artifact / "README.md").read_text())
    assert (card.data.library_name, card.data.base_model, card.data.license) == ("diffusers", "owner/teacher", "other")
    assert card.data.pipeline_tag == "unconditional-image-generation"
    assert set(card.data.tags) == {"diffusion", "distillation", "one-step"}
    metrics = [metric for distances in evaluated.report.distances for metric in distances.metrics()]
    results = card.data.eval_results
    assert [(result.metric_name, result.metric_value) for result in results] == [
        (metric.name, round(metric.value, 6)) for metric in metrics
    ]
    assert all(f"noises from {evaluated.report.first_index} of seed" in result.dataset_name for result in results)
    index = eval_results_to_model_index(card.data.model_name, results)
    assert len(model_index_to_eval_results(index)[1]) == len(metrics) > 0


def test_an_older_artifact_is_replaced_and_nothing_is_left_beside_it(
    evaluated: Evaluated, lineage: Lineage, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "stale.txt").write_text("old")
    export_artifact(evaluated.spec.student, out, lineage, evaluated.report)
    assert not (out / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_no_student_no_artifact(evaluated: Evaluated, lineage: Lineage, tmp_path: Path) -> None:
    with pytest.raises(StudentError):
        export_artifact(tmp_path / "nothing", tmp_path / "model", lineage, evaluated.report)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), SafetensorError("io error")])
def test_a_failed_export_leaves_the_older_artifact_and_nothing_else(
    error: Exception, evaluated: Evaluated, lineage: Lineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(source: Path, target: Path) -> NoReturn:
        target.write_bytes(b"half")
        raise error

    out = tmp_path / "model"
    out.mkdir()
    (out / "older.txt").write_text("whole")
    monkeypatch.setattr(shutil, "copyfile", fill_the_disk)
    with pytest.raises(OSError, match=r"an artifact must be written whole, got .* for .*model, .*; free some space"):
        export_artifact(evaluated.spec.student, out, lineage, evaluated.report)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["model", "model/older.txt"]


def test_the_digest_is_of_what_it_computes(artifact: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(artifact, copy)
    assert artifact_digest(copy) == artifact_digest(artifact)
    (copy / "README.md").write_text("another card")
    assert artifact_digest(copy) == artifact_digest(artifact)
    config = json.loads((copy / "student" / "config.json").read_text())
    (copy / "student" / "config.json").write_text(json.dumps({**config, "patch": 4}))
    assert artifact_digest(copy) != artifact_digest(artifact)


def test_a_bundle_defines_each_name_once_and_before_its_use() -> None:
    text = bundle_source(LayerwiseStudent, "note")
    tree = ast.parse(text)
    assert ast.get_docstring(tree) == "note"
    names = [n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    assert len(names) == len(set(names))
    assert names[-1] == "LayerwiseStudent"
    assert {"SkipCoefficients", "skip_coefficients", "ResidualBlock", "CleanHead", "initial_noise"} <= set(names)
    assert "@dataclass(frozen=True)" in text
    namespace: dict[str, object] = {"__name__": "bundled"}
    sys.modules["bundled"] = type(sys)("bundled")
    exec(compile(text, "bundled.py", "exec"), namespace)
    del sys.modules["bundled"]


def test_an_import_that_cannot_be_followed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "fakepackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("def f(): return 1\n")
    (package / "renamed.py").write_text("from fakepackage.other import f as g\n\n\nclass A:\n    x = g()\n")
    (package / "whole.py").write_text("import fakepackage.other\n\n\nclass A:\n    x = fakepackage.other.f()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(source, "PACKAGES", ("fakepackage",))
    for name in ("renamed", "whole"):
        module = __import__(f"fakepackage.{name}", fromlist=["A"])
        with pytest.raises(ValueError, match=r"must import our packages as `from fakepackage.x import y`, got"):
            bundle_source(module.A, "note")


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("s3://user:secret@bucket/prefix/store?token=x", "s3://bucket/prefix/store"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("/home/someone/runs/stores/digits/0123", "digits/0123"),
        ("file:///home/someone/stores/digits/0123", "digits/0123"),
        ("runs", "runs"),
    ],
)
def test_what_is_published_of_a_uri(uri: str, public: str) -> None:
    assert public_uri(uri) == public


def test_the_bundle_of_a_student_with_levels_computes_the_same(tmp_path: Path) -> None:
    grid = {"timesteps": [999, 499, 0], "signal": [0.1, 0.5, 1.0], "sigma": [0.9, 0.8, 0.0]}
    shape = {"sample_shape": [3, 16, 16], **grid}
    torch.manual_seed(0)
    student = LayerwiseStudent(**shape, width=8, blocks=1, levels=2, attention=True)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    path = tmp_path / "bundled_student.py"
    path.write_text(bundle_source(LayerwiseStudent, "As it travels."), encoding="utf-8")
    loader = importlib.util.spec_from_file_location("bundled_student", path)
    assert loader is not None
    assert loader.loader is not None
    module = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(module)
    again = module.LayerwiseStudent(**shape, width=8, blocks=1, levels=2, attention=True)
    again.load_state_dict(student.state_dict())
    noise = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(noise), student(noise))
