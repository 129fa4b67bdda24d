"""A teacher of prompts the whole way: precompute, train, evaluate, sample, browse, export, reload with diffusers."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from starlette.testclient import TestClient

from advkd.browse.app import create_app
from advkd.browse.settings import BrowseSpec
from advkd.diffusion import Prompts, conditions_of, drawn_condition, embedded
from advkd.evaluation import EvaluateSpec, evaluate
from advkd.export import ExportSpec, export_student
from advkd.networks import (
    NetworkError,
    embeddings_places,
    find_embeddings,
    kept_embeddings,
    load_embeddings,
    multiply_adds,
)
from advkd.students import LayerwiseStudent, StudentSpec, load_student
from advkd.teachers import SolverSpec, TeacherError, TextTeacher, load_teacher, load_text_encoder
from advkd.training import train
from advkd.trajectories import PrecomputeSpec, precompute
from storage import open_store
from tests.advkd.cli.calls import Cli, assert_refused
from tests.advkd.conftest import tiny_train
from tests.advkd.teachers.text_folders import PROMPTS, prompt_file, stable_diffusion_folder
from tests.advkd.trajectories.forked import Forker

pytestmark = [pytest.mark.thorough, pytest.mark.slow]
APPLICATION = """
import sys
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

folder, teacher, out = sys.argv[1:]
pipe = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
latents = {"seed": 7, "output_type": "latent"}
stored = ["the sea at night", "a red square", "<b>ten & one</b>"]
found = {
    "list": pipe(stored, **latents).images,
    "one": pipe(prompt="a blue circle", batch_size=9, **latents).images,
    "sample": pipe.student.sample(3, 7, **pipe.prompts.embed(stored)).images,
}
assert pipe("a red square", output_type="pt").images.shape == (1, 3, 16, 16)
for wrong in ({"seed": 1}, {"prompt": "green"}, {"prompt": ["a red square"] * 3, "batch_size": 2}):
    try:
        pipe(**wrong)
    except ValueError as error:
        print(error)
    else:
        raise AssertionError(wrong)
pipe.prompts.load_text_encoder(teacher)
found["new"] = pipe(prompt=["green", "a red square"], **latents).images
save_file({name: images.contiguous() for name, images in found.items()}, out)
"""


@dataclass(frozen=True)
class Text:
    """A teacher's source, its store and the student of it."""

    folder: Path
    source: str
    store: str
    run: Path

    def student(self) -> LayerwiseStudent:
        return load_student(self.run)

    def conditions(self) -> Prompts:
        facts = open_store(self.store).manifest.spec.conditioning
        assert facts is not None
        conditions = conditions_of(facts)
        assert isinstance(conditions, Prompts)
        folder = kept_embeddings(self.store, conditions.facts)
        assert folder is not None
        conditions.adopt(load_embeddings(folder, conditions.facts))
        return conditions


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Text:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("prompts")
    folder = stable_diffusion_folder(root / "sd")
    source = f"{folder}#prompts={prompt_file(root)}#guidance=3"
    made = precompute(
        PrecomputeSpec(
            teacher=source, store=str(root / "stores"), samples=64, solver=SolverSpec(steps=4), captures=3,
            shard_samples=32, block_samples=16, dtype="float32",
        )
    )  # fmt: skip
    # The text encoder is not needed again.
    (folder / "text_encoder").rename(root / "text_encoder")
    spec = tiny_train(
        student=StudentSpec(width=16, blocks=1), samples=8 * 50, batch_size=8, warmup=0.5, checkpoint_every=400
    )
    list(train(spec, made.uri, root / "run"))
    (root / "text_encoder").rename(folder / "text_encoder")
    return Text(folder, source, made.uri, root / "run")


def test_the_store_holds_the_states_of_each_samples_prompt(text: Text) -> None:
    reader, conditions = open_store(text.store), text.conditions()
    spec = reader.manifest.spec
    teacher = load_teacher(text.source)
    assert spec.conditioning == teacher.conditions.facts
    assert spec.guidance_scale == 3
    assert list(conditions.table.config.prompts) == list(PROMPTS)
    drawn = drawn_condition(conditions, spec.base_seed, range(64))["prompt"]
    assert set(drawn.tolist()) == set(range(4))
    # The embeddings that are kept are those that the text encoder gives.
    fresh = teacher.conditions.embedded({"prompt": drawn})  # type: ignore[attr-defined]
    for name, values in conditions.embedded({"prompt": drawn}).items():
        assert torch.equal(values, fresh[name]), name


def test_the_student_attends_to_its_prompt(text: Text) -> None:
    student, conditions = text.student(), text.conditions()
    told = conditions.embedded({"prompt": torch.tensor([0, 1, 2])})
    noise = torch.ones(3, 4, 8, 8)
    images = student(noise, **told)
    assert not torch.allclose(images[0], images[1], atol=1e-5)
    with pytest.raises(ValueError, match=r"needs the embeddings of one for each image, .* got none"):
        student(noise)
    with pytest.raises(ValueError, match="unconditional student takes noise alone, got class_labels"):
        student(noise, class_labels=torch.zeros(3, dtype=torch.int64), **told)


def test_evaluation_compares_prompt_by_prompt_without_a_text_encoder(text: Text, tmp_path: Path) -> None:
    hidden = text.folder / "text_encoder"
    weights = (hidden / "model.safetensors").read_bytes()
    spec = EvaluateSpec(
        student=str(text.run), teacher=text.source, out=str(tmp_path / "report"), features="none",
        references=str(tmp_path), samples=16,
    )  # fmt: skip
    report = evaluate(spec)
    assert (hidden / "model.safetensors").read_bytes() == weights
    scores = json.loads((tmp_path / "report" / "classes.json").read_text())
    assert {one["name"] for one in scores} <= set(PROMPTS)
    assert sum(one["samples"] for one in scores) == 16
    # In each step the network sees both halves of guidance, two passes, and nothing else has matrix products.
    network = load_teacher(text.source).network  # type: ignore[attr-defined]
    told = torch.zeros(2, 12, 16)
    macs = multiply_adds(lambda: network(torch.zeros(2, 4, 8, 8), 1, encoder_hidden_states=told))
    assert report.cost.teacher.macs == report.cost.teacher.passes // 2 * macs
    page = (tmp_path / "report" / "report.html").read_text()
    assert "4 of 4 prompts" in page
    assert "&lt;b&gt;ten &amp; one&lt;/b&gt;" in page
    assert "<b>ten" not in page


def test_samples_on_the_command_line(text: Text, tmp_path: Path, cli: Cli) -> None:
    def made(*options: object, n: int = 4) -> bytes:
        out = tmp_path / "grid.png"
        done = cli("sample", text.run, "--n", n, "--seed", 3, "--out", out, *options)
        assert done.code == 0, done.err
        return out.read_bytes()

    one = made("--prompt", PROMPTS[1])
    assert one != made("--prompt", PROMPTS[0])
    assert one == made("--prompt", PROMPTS[1], "--text-encoder", text.folder)
    everything = [option for prompt in PROMPTS for option in ("--prompt", prompt)]
    assert made("--prompt", "all") == made(*everything) != made()
    assert made("--prompt", "green", "--text-encoder", text.folder) not in (one, made())
    out = tmp_path / "other.png"
    refused = cli("sample", text.run, "--prompt", "green", "--out", out)
    assert_refused(refused, "one of the 4 that the student was trained on", "got 'green'", "--text-encoder")
    assert_refused(cli("sample", text.run, "--label", "0", "--out", out), "--label is for a student with class labels")
    both = cli("sample", text.run, "--label", "0", "--prompt", "all", "--out", out)
    assert_refused(both, "labels or prompts, got --label and --prompt; leave one of them out")
    assert not out.exists()


def test_a_store_says_its_prompts(text: Text, cli: Cli) -> None:
    assert "the sea at night" in cli("cache", "show", text.store).out
    shown = cli("teacher", "show", text.source, "--json")
    assert json.loads(shown.out)["conditions"]["first"] == list(PROMPTS)
    planned = cli("cache", "plan", "--teacher", text.source, "--steps", 4, "--captures", 3, "--samples", 64, "--json")
    assert json.loads(planned.out)["passes"] == 2 * 4 * json.loads(planned.out)["computed_samples"]
    assert cli("cache", "verify", text.store).code == 0


def test_embeddings_that_are_missing_or_damaged_are_said_before_training(text: Text, tmp_path: Path) -> None:
    root = tmp_path / "stores"
    shutil.copytree(Path(text.store).parent.parent, root)
    store = str(root / Path(text.store).parent.name / Path(text.store).name)
    (kept,) = (root / "embeddings").iterdir()
    weights = kept / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["pooled_projections"][0] += 1
    save_file(tensors, weights)
    with pytest.raises(NetworkError, match="got damaged ones in"):
        next(train(tiny_train(), store, tmp_path / "run"))
    shutil.rmtree(kept)
    with pytest.raises(NetworkError, match=r"needs their embeddings beside it, got none in .*embeddings/"):
        next(train(tiny_train(), store, tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    # The same precompute puts them back, and computes no state again.
    made = precompute(
        PrecomputeSpec(
            teacher=text.source, store=str(root), samples=64, solver=SolverSpec(steps=4), captures=3, shard_samples=32,
            block_samples=16, dtype="float32",
        )
    )  # fmt: skip
    assert (made.computed, made.uri) == (0, store)
    assert kept.is_dir()
    assert kept_embeddings(store, text.conditions().facts) == kept


def test_another_text_encoder_is_not_taken_for_it(text: Text, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(text.folder, other)
    weights = other / "text_encoder" / "model.safetensors"
    save_file({name: values + 0.1 for name, values in load_file(weights).items()}, weights, {"format": "pt"})
    prompts = text.source.partition("#prompts=")[2].partition("#")[0]
    assert load_teacher(f"{other}#prompts={prompts}").conditions.facts != text.conditions().facts
    with pytest.raises(TeacherError, match=r"must be the one that the student's teacher had, sha256 .*, got another"):
        load_text_encoder(str(other), text.conditions().facts)
    table = find_embeddings(embeddings_places(text.run / "student"), text.conditions().facts)
    with pytest.raises(ValueError, match="embeds the empty prompt otherwise"):
        table.load_text_encoder(str(other))


def test_pages_show_prompts_escaped(text: Text) -> None:
    app = create_app(BrowseSpec(uris=(text.store,), students=(str(text.run),)))
    with TestClient(app, base_url="http://127.0.0.1:8765") as client:
        name = open_store(text.store).manifest.digest[:16]
        spec = open_store(text.store).manifest.spec
        drawn = drawn_condition(text.conditions(), spec.base_seed, range(64))["prompt"].tolist()
        tagged = drawn.index(3)
        page = client.get(f"/s/{name}/sample/{tagged}").text
        assert "&lt;b&gt;ten &amp; one&lt;/b&gt;" in page
        assert "<b>ten" not in page
        assert "a blue circle" in client.get(f"/s/{name}/gallery").text
        chosen = client.get(f"/api/stores/{name}/order?by=norm&t=0&label=3").json()
        assert sorted(chosen["samples"]) == [index for index, number in enumerate(drawn) if number == 3]


def test_diffusers_loads_the_export_and_gives_the_same_samples(fork: Forker, text: Text, tmp_path: Path) -> None:
    folder = export_student(ExportSpec(student=str(text.run), out=str(tmp_path / "model"), format="diffusers"))
    card = (tmp_path / "model" / "README.md").read_text()
    assert 'prompt="a red square"' in card
    assert "pipeline_tag: text-to-image" in card
    assert 'load_text_encoder("path/to/teacher")' in card
    run = fork.application(APPLICATION, folder, text.folder, tmp_path / "out.safetensors", folder=tmp_path)
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    assert "needs the embeddings of one for each image" in lines[0]
    assert "one of the 4 stored ones, or there must be a text encoder, got 'green'" in lines[1]
    assert "prompt must be one, or as many as images (2), got 3" in lines[2]
    found, student, conditions = load_file(tmp_path / "out.safetensors"), text.student(), text.conditions()
    told = embedded(conditions, {"prompt": torch.tensor([2, 0, 3])})
    expected = student.sample(3, 7, **told).images
    for way in ("list", "sample"):
        assert torch.equal(found[way], expected), way
    one = embedded(conditions, {"prompt": torch.ones(9, dtype=torch.int64)})
    assert torch.equal(found["one"], student.sample(9, 7, **one).images)
    teacher = load_teacher(text.source)
    assert isinstance(teacher, TextTeacher)
    new = teacher.prompted(["green", "a red square"]).conditions.embedded({"prompt": torch.tensor([0, 1])})
    assert torch.equal(found["new"], student.sample(2, 7, **new).images)
