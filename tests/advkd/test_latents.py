"""A teacher of latents the whole way on the command line: what is shown is decoded, wherever its autoencoder was."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import VQModel
from PIL import Image

from advkd.networks import DECODER
from storage import open_store
from tests.advkd.cli.calls import Cli, assert_refused
from tests.advkd.conftest import write_spec
from tests.advkd.teachers.latents import dit_folder, ldm_folder
from tests.advkd.trajectories.forked import Forker

LOADS = """
import sys
import numpy as np
import torch
from diffusers import DiffusionPipeline
folder, out = sys.argv[1:]
pipe = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
images = {kind: pipe(batch_size=5, seed=3, output_type=kind).images for kind in ("latent", "pt", "np", "pil")}
assert [image.size for image in images["pil"]] == [(16, 16)] * 5
assert images["latent"].shape == (5, 3, 8, 8)
np.testing.assert_array_equal(images["np"], images["pt"].permute(0, 2, 3, 1).numpy())
assert 0 <= images["np"].min() and images["np"].max() <= 1
assert pipe(batch_size=2, generator=torch.Generator().manual_seed(1), output_type="np").images.shape == (2, 16, 16, 3)
np.savez(out, latent=images["latent"].numpy(), images=images["pt"].numpy())
"""

LOADS_CLASSES = """
import sys
import torch
from diffusers import DiffusionPipeline
folder = sys.argv[1]
pipe = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
images = pipe(seed=0, class_labels=["goldfish", "shark"], output_type="pt").images
assert images.shape == (2, 3, 16, 16)
assert not torch.equal(images, pipe(seed=0, class_labels=["shark", "shark"], output_type="pt").images)
"""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ldm_folder(tmp_path_factory.mktemp("teachers") / "faces")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("latent-stores")


@pytest.fixture
def store(teacher: Path, stores: Path, cli: Cli) -> str:
    sizes = ("--samples", 32, "--steps", 4, "--captures", 2, "--shard-samples", 16, "--block-samples", 8)
    made = cli("precompute", "--teacher", teacher, "--store", stores, *sizes)
    assert made.code == 0, made.err
    return made.uri


@pytest.fixture
def run(store: str, stores: Path, tmp_path: Path, cli: Cli) -> Path:
    out = stores.parent / f"{stores.name}-run"
    spec = write_spec(tmp_path / "spec.json", samples=400)
    trained = cli("train", "--store", store, "--out", out, "--spec", spec)
    assert trained.code == 0, trained.err
    return out


def test_the_store_has_latents_and_the_root_their_autoencoder(store: str, stores: Path, cli: Cli) -> None:
    verified = cli("cache", "verify", store)
    assert verified.code == 0, verified.err
    space = open_store(store).manifest.spec.space
    assert space is not None
    assert sorted(path.name for path in (stores / "decoders" / space["sha256"]).iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    listed = cli("cache", "ls", stores, "--json")
    assert listed.code == 0, listed.err
    assert listed.out.count("decoders") == 0


@pytest.mark.thorough
def test_it_is_evaluated_in_its_own_network_s_features(run: Path, teacher: Path, tmp_path: Path, cli: Cli) -> None:
    out = ("--out", tmp_path / "report", "--references", tmp_path / "references", "--samples", 24)
    evaluated = cli("evaluate", run, "--teacher", teacher, *out)
    assert evaluated.code == 0, evaluated.err
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    (distances,) = report["distances"]
    assert (distances["extractor"], report["sample_shape"]) == ("teacher", [3, 16, 16])
    assert "values of the teacher's latents" in distances["to_teacher"]["fd"]["input"]
    assert len(report["submodules"]) == 2


def test_a_sample_is_decoded_wherever_the_run_was_moved(run: Path, tmp_path: Path, cli: Cli) -> None:
    moved = Path(shutil.copytree(run / "student", tmp_path / "elsewhere"))
    sampled = cli("sample", moved, "--n", 4, "--out", tmp_path / "grid.png")
    assert sampled.code == 0, sampled.err
    with Image.open(tmp_path / "grid.png") as picture:
        # Two by two tiles of 16x16, enlarged three times.
        assert picture.size == (98, 98)
    # Without its autoencoder it says where that was looked for, and what to do.
    shutil.rmtree(moved / DECODER)
    refused = cli("sample", moved, "--n", 4, "--out", tmp_path / "other.png")
    assert_refused(refused, "decoded by the autoencoder", str(moved / DECODER), "copy the teacher's vae")
    # Another autoencoder is none.
    torch.manual_seed(5)
    VQModel(latent_channels=3, norm_num_groups=4, block_out_channels=(8,)).save_pretrained(moved / DECODER)
    assert_refused(cli("sample", moved, "--n", 4, "--out", tmp_path / "other.png"), "decoded by the autoencoder")


def test_the_teachers_folder_heals_a_student_without_one(run: Path, teacher: Path, tmp_path: Path, cli: Cli) -> None:
    moved = Path(shutil.copytree(run / "student", tmp_path / "elsewhere"))
    shutil.rmtree(moved / DECODER)
    shutil.copytree(teacher / "vqvae", moved / DECODER)
    sampled = cli("sample", moved, "--n", 4, "--out", tmp_path / "grid.png")
    assert sampled.code == 0, sampled.err


def test_a_store_without_one_trains_a_student_of_latents_alone(
    store: str, tmp_path: Path, cli: Cli, caplog: pytest.LogCaptureFixture
) -> None:
    alone = tmp_path / "alone" / Path(store).parent.name / Path(store).name
    shutil.copytree(store, alone)
    trained = cli("train", "--store", alone, "--out", tmp_path / "run", "--spec", write_spec(tmp_path / "spec.json"))
    assert trained.code == 0, trained.err
    assert "autoencoder of this store's latents is not in" in caplog.text
    assert not (tmp_path / "run" / "student" / DECODER).exists()


def test_an_export_decodes_by_diffusers_alone(fork: Forker, run: Path, teacher: Path, tmp_path: Path, cli: Cli) -> None:
    exported = cli("export", run, "--out", tmp_path / "model", "--format", "diffusers")
    assert exported.code == 0, exported.err
    assert json.loads((tmp_path / "model" / "model_index.json").read_text())[DECODER] == ["diffusers", "VQModel"]
    loaded = fork.application(LOADS, tmp_path / "model", tmp_path / "out.npz", folder=tmp_path)
    assert loaded.code == 0, loaded.err
    found = np.load(tmp_path / "out.npz")
    from advkd.students import load_student

    latents = load_student(run).sample(5, seed=3).images
    torch.testing.assert_close(torch.from_numpy(found["latent"]), latents, rtol=0, atol=1e-6)
    with torch.no_grad():
        images = VQModel.from_pretrained(teacher / "vqvae").decode(torch.from_numpy(found["latent"]) / 0.5).sample
    expected = (images / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(torch.from_numpy(found["images"]), expected, rtol=0, atol=1e-6)
    # The artifact is a student like any other.
    sampled = cli("sample", tmp_path / "model", "--n", 4, "--out", tmp_path / "grid.png")
    assert sampled.code == 0, sampled.err


@pytest.mark.thorough
def test_in_an_object_store_the_autoencoder_travels_along(
    teacher: Path, s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    sizes = ("--samples", 16, "--steps", 4, "--captures", 2, "--shard-samples", 16, "--block-samples", 8)
    made = cli("precompute", "--teacher", teacher, "--store", f"{s3_root}/stores", *sizes)
    assert made.code == 0, made.err
    spec = write_spec(tmp_path / "spec.json", samples=32, rise_samples=8)
    trained = cli("train", "--store", made.uri, "--out", f"{s3_root}/run", "--spec", spec)
    assert trained.code == 0, trained.err
    # On another machine, where nothing was fetched before.
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    sampled = cli("sample", f"{s3_root}/run", "--n", 4, "--out", tmp_path / "grid.png")
    assert sampled.code == 0, sampled.err
    exported = cli("export", f"{s3_root}/run", "--out", f"{s3_root}/model", "--format", "diffusers")
    assert exported.code == 0, exported.err
    again = cli("sample", f"{s3_root}/model", "--n", 4, "--out", tmp_path / "again.png")
    assert again.code == 0, again.err
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "grid.png").read_bytes()


@pytest.mark.slow
def test_classes_and_latents_together(fork: Forker, tmp_path: Path, cli: Cli) -> None:
    """A `DiTPipeline` under guidance, from its folder to an image of a class, by diffusers alone."""
    dit = f"{dit_folder(tmp_path / 'dit')}#guidance=2"
    sizes = ("--samples", 32, "--steps", 4, "--captures", 2, "--shard-samples", 16, "--block-samples", 8)
    made = cli("precompute", "--teacher", dit, "--store", tmp_path / "stores", *sizes)
    assert made.code == 0, made.err
    assert open_store(made.uri).manifest.spec.sampler_config["guidance_scale"] == 2.0
    spec = write_spec(tmp_path / "spec.json", samples=400)
    trained = cli("train", "--store", made.uri, "--out", tmp_path / "run", "--spec", spec)
    assert trained.code == 0, trained.err
    out = ("--out", tmp_path / "report", "--references", tmp_path / "references", "--samples", 16)
    evaluated = cli("evaluate", tmp_path / "run", "--teacher", dit, *out)
    assert evaluated.code == 0, evaluated.err
    sampled = cli("sample", tmp_path / "run", "--n", 4, "--label", "goldfish", "--out", tmp_path / "grid.png")
    assert sampled.code == 0, sampled.err
    exported = cli("export", tmp_path / "run", "--out", tmp_path / "model", "--format", "diffusers")
    assert exported.code == 0, exported.err
    loaded = fork.application(LOADS_CLASSES, tmp_path / "model", folder=tmp_path)
    assert loaded.code == 0, loaded.err
