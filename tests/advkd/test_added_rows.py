"""Rows that an installed package adds, taken the whole way on the command line: this project is not touched."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from advkd.discriminators import DiscriminatorSpec
from storage import open_store
from storage.records import condition_generator
from tests.advkd.cli.calls import assert_refused
from tests.advkd.conftest import tiny_train
from tests.advkd.trajectories.forked import Ended, Forker, Job, command, command_with

CHECKOUT = Path(__file__).parents[2]
ENTRY_POINTS = """\
[advkd.features]
toy-rows = toy_rows:row_means
[advkd.losses]
toy-least-squares = toy_rows:least_squares
[advkd.discriminators]
toy-patches = toy_rows:PatchDiscriminator
[advkd.students]
ToyStudent = toy_rows:ToyStudent
LabelStudent = toy_teacher:LabelStudent
[advkd.methods]
toy = toy_rows:toy
toy-labels = toy_teacher:labels
[advkd.exports]
toy-facts = toy_rows:facts_file
[advkd.teachers]
ToyPipeline = toy_teacher:family
[advkd.solvers]
toy-euler = toy_teacher:euler
[advkd.conditions]
toy-labels = toy_teacher:Labels
[advkd.spaces]
toy-halves = toy_teacher:Halves
"""
LOADS = """
import sys
from diffusers import DiffusionPipeline
folder = sys.argv[1]
pipe = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
assert len(pipe(batch_size=2, seed=0).images) == 2
assert "toy_rows" not in sys.modules
"""
FORM = """
import sys
import jsonschema
import pytest
import toy_rows
from prefect.exceptions import ParameterTypeError
from flows.distill import distill
from flows.recipe import recipe
given = {"train": {"method": "toy", "optimizer": {"rate": 0.5}, "samples": 512}}
schema = distill.parameters.model_dump()
jsonschema.validate(given, schema)
spec = distill.validate_parameters(given)["train"]
assert spec == toy_rows.ToySpec(samples=512, optimizer=toy_rows.ToyPart(rate=0.5)), spec
for wrong in ({"method": "toy", "warmup": 1}, {"method": "toy", "optimizer": {"speed": 1}}):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"train": wrong}, schema)
    with pytest.raises(ParameterTypeError, match="train.toy.* Unexpected keyword argument"):
        distill.validate_parameters({"train": wrong})
plan = recipe("mixture", "quick", sys.argv[1], train=spec, features="toy-rows,digits")
assert plan.train == spec, plan.train
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed package, as pip leaves one."""
    folder = tmp_path_factory.mktemp("site")
    for module in ("toy_rows.py", "toy_teacher.py"):
        shutil.copy(Path(__file__).parent / "added" / module, folder)
    facts = folder / "toy-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def code_with(site: str, code: str, *arguments: str) -> None:
    """`python -c CODE ARGUMENTS` where the package of a folder is installed too."""
    sys.path.insert(0, site)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def advkd(fork: Forker, site: Path, *arguments: object) -> Ended:
    (ended,) = fork.group(Job(command_with, (str(site), *map(str, arguments))))
    return ended


def done(result: Ended) -> None:
    assert result.code == 0, result.err


def test_a_discriminator_of_patches_a_loss_an_extractor_and_an_export(
    fork: Forker, site: Path, mixture_store: str, tmp_path: Path
) -> None:
    spec = asdict(tiny_train(warmup=0.25, discriminator=DiscriminatorSpec(width=4)))
    spec["discriminator"]["kind"], spec["adversarial"] = "toy-patches", "toy-least-squares"
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    train = ("train", "--store", mixture_store, "--out", tmp_path / "run", "--spec", tmp_path / "spec.json")
    done(advkd(fork, site, *train))
    saved = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    assert load_file(saved / "discriminator.safetensors")["body.1.num_batches_tracked"] > 0
    seen = json.loads((tmp_path / "run" / "student" / "monitors.json").read_text())[-1]
    assert all(part["margin"] is not None for part in seen["submodules"])

    out = ("--out", tmp_path / "report", "--references", tmp_path / "references", "--samples", 48)
    evaluated = ("evaluate", tmp_path / "run", "--teacher", "mixture", *out)
    done(advkd(fork, site, *evaluated, "--features", "toy-rows,digits", "--json"))
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert [one["to_teacher"]["fd"]["name"] for one in report["distances"]] == ["FD(toy-rows)", "FD(digits)"]
    assert report["distances"][0]["extractor_sha256"] == "f" * 64

    done(advkd(fork, site, "export", tmp_path / "run", "--out", tmp_path / "facts.json", "--format", "toy-facts"))
    assert json.loads((tmp_path / "facts.json").read_text())["shape"] == [1, 16, 16]


@pytest.mark.slow
def test_a_method_with_a_student_of_its_own(fork: Forker, site: Path, mixture_store: str, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"method": "toy", "samples": 96, "batch_size": 8, "checkpoint_every": 48}')
    train = ("train", "--store", mixture_store, "--out", tmp_path / "run", "--spec", tmp_path / "spec.json")
    done(advkd(fork, site, *train))
    record = json.loads((tmp_path / "run" / "checkpoints" / "000000000096" / "state.json").read_text())
    assert record["identity"]["optimizer"] == {"rate": 0.05}
    weights = load_file(tmp_path / "run" / "student" / "diffusion_pytorch_model.safetensors")
    assert weights.keys() == {"conv.weight", "conv.bias"}
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    # It is there for the next command as well, and what it makes runs where it is not.
    done(advkd(fork, site, "export", tmp_path / "run", "--out", tmp_path / "model", "--format", "diffusers"))
    done(fork.application(LOADS, tmp_path / "model", folder=tmp_path))
    # Without the package its student is none.
    again = ("export", str(tmp_path / "run"), "--out", str(tmp_path / "other"))
    (refused,) = fork.group(Job(command, again))
    assert_refused(refused, "must be a LayerwiseStudent", "'ToyStudent'")


@pytest.fixture
def toy_pipeline(tmp_path: Path) -> Path:
    """A teacher's folder of a class of pipeline that this project does not know."""
    folder = tmp_path / "toys"
    (folder / "toy").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "ToyPipeline"}')
    (folder / "toy" / "config.json").write_text('{"means": [-0.08, 0.0, 0.08]}')
    return folder


@pytest.mark.slow
def test_a_teacher_with_classes_latents_and_a_solver_of_its_own(
    fork: Forker, site: Path, toy_pipeline: Path, tmp_path: Path
) -> None:
    asked = ("--teacher", toy_pipeline, "--store", tmp_path / "stores", "--solver", "toy-euler", "--steps", 4)
    sizes = ("--samples", 64, "--captures", 2, "--block-samples", 16, "--shard-samples", 32)
    made = advkd(fork, site, "precompute", *asked, *sizes, "--json")
    done(made)
    uri = json.loads(made.out.splitlines()[-1])["uri"]
    done(advkd(fork, site, "cache", "verify", uri))
    reader = open_store(uri)
    identity = reader.manifest.spec
    assert (identity.timesteps, identity.signal, identity.sigma) == ((4, 2, 0), (0.0, 0.5, 1.0), (1.0, 0.5, 0.0))
    assert identity.space == {"kind": "toy-halves", "scale": 10.0}
    assert identity.conditioning == {"kind": "toy-labels", "names": ["dark", "grey", "bright"]}
    # The condition of sample i follows from (seed, i) alone.
    means = np.array([-0.08, 0.0, 0.08], dtype=np.float16)
    drawn = [int(condition_generator(0, index).integers(3)) for index in range(64)]
    assert set(drawn) == {0, 1, 2}
    np.testing.assert_array_equal(reader.read_samples(range(64), [0])[0][:, 0, 0, 0], means[drawn])

    (tmp_path / "spec.json").write_text('{"method": "toy-labels", "samples": 640, "batch_size": 16}')
    train = ("train", "--store", uri, "--out", tmp_path / "run", "--spec", tmp_path / "spec.json")
    done(advkd(fork, site, *train))
    weights = load_file(tmp_path / "run" / "student" / "diffusion_pytorch_model.safetensors")["clean.weight"]
    np.testing.assert_allclose(weights[:, 0], means, atol=0.02)

    evaluated = ("evaluate", tmp_path / "run", "--teacher", toy_pipeline, "--solver", "toy-euler")
    done(advkd(fork, site, *evaluated, "--out", tmp_path / "report", "--references", tmp_path, "--samples", 32))
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert (report["distances"], report["sample_shape"], report["timesteps"]) == ([], [1, 16, 16], [4, 2, 0])
    assert all(part["rmse_state"]["value"] < 0.02 for part in report["submodules"])

    done(advkd(fork, site, "sample", tmp_path / "run", "--n", 9, "--out", tmp_path / "grid.png"))
    # Decoded: three shades, that of each sample's own label.
    shades = np.asarray(Image.open(tmp_path / "grid.png").convert("L"))
    assert len(np.unique(shades.round(-1))) >= 3

    # Our own method's student takes no label: it says so before it trains.
    refused = advkd(fork, site, "train", "--store", uri, "--out", tmp_path / "other", "--preset", "quick")
    assert_refused(refused, "takes noise alone", "'toy-labels'")
    # Nor does a solver that is not the teacher's, or a class of pipeline that nobody reads.
    assert_refused(
        advkd(fork, site, "precompute", *asked[:4], "--samples", 16), "must be solved by toy-euler, got 'ddim'"
    )
    (unknown,) = fork.group(Job(command, ("precompute", *map(str, asked[:4]), "--samples", "16")))
    assert_refused(unknown, "must be one of", "'ToyPipeline'")


@pytest.mark.slow
def test_the_flow_takes_such_a_teacher_the_whole_way(site: Path, toy_pipeline: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), str(CHECKOUT)]),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240",
    }
    settings = {
        "teacher": str(toy_pipeline),
        "root": str(tmp_path / "runs"),
        "samples": 32,
        "precompute": {
            "samples": 64, "captures": 2, "block_samples": 16, "shard_samples": 32,
            "solver": {"kind": "toy-euler", "steps": 4},
        },
        "train": {"method": "toy-labels", "samples": 640, "batch_size": 16},
    }  # fmt: skip
    code = "import json, sys; from flows.distill import distill; distill(**json.loads(sys.argv[1]))"
    command = [sys.executable, "-c", code, json.dumps(settings)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=500)
    assert run.returncode == 0, run.stderr[-4000:]
    summary = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert summary["model"]["alias"] == "challenger"
    assert summary["fd"] is None


@pytest.mark.slow
def test_the_form_of_a_flow_takes_them(fork: Forker, site: Path, tmp_path: Path) -> None:
    (checked,) = fork.group(Job(code_with, (str(site), FORM, str(tmp_path))))
    done(checked)
