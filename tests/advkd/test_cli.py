"""The command line: what it prints where, how it exits, and one clear line for every bad input."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import advkd.progress
from advkd.cli import main
from advkd.precompute import compute_shard, precompute
from advkd.teachers import SolverSpec
from advkd.training.checkpoint import checkpoints
from storage import list_stores
from tests.advkd.conftest import FolderMaker, mixture_spec, tiny_train

COMMANDS = [
    ["precompute"],
    ["train"],
    ["evaluate"],
    ["sample"],
    ["cache", "ls"],
    ["cache", "show"],
    ["cache", "verify"],
    ["cache", "repair"],
    ["cache", "gc"],
    ["cache", "convert"],
    ["cache", "plan"],
    ["cache", "rm"],
    ["teacher", "show"],
    ["teacher", "train-digits"],
    ["evaluation", "train-classifier"],
]
TINY = ["--samples", "32", "--steps", "4", "--captures", "2", "--shard-samples", "16", "--block-samples", "8"]


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def uri(self) -> str:
        """The last line of stdout."""
        return self.out.splitlines()[-1]


Cli = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `advkd ARGS` in this process through the real entry point."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["advkd", *map(str, arguments)])
        advkd.progress.console.cache_clear()
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
        finally:
            advkd.progress.console.cache_clear()
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def run(*arguments: object, shell_limit: str = "", **environment: str) -> Result:
    """Runs `python -m advkd ARGS` as a process, under a `ulimit` if one is given."""
    command = [sys.executable, "-m", "advkd", *map(str, arguments)]
    if shell_limit:
        command = ["bash", "-c", f'{shell_limit}; exec "$@"', "bash", *command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )
    return Result(done.returncode, done.stdout, done.stderr)


def assert_refused(result: Result, *parts: str) -> None:
    """One line of ours on stderr with all the parts, no traceback, a failing exit code, and no URI promised."""
    assert result.code == 1, result
    assert "Traceback" not in result.err
    lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.err
    assert result.err.splitlines()[-1] == lines[0]
    for part in parts:
        assert part in lines[0], (part, lines[0])
    assert result.out == ""


def write_spec(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps(asdict(tiny_train(**changes))))
    return path


# -- what works -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], *COMMANDS, ["cache"], ["teacher"], ["evaluation"]], ids=" ".join)
def test_every_command_explains_itself(cli: Cli, command: list[str]) -> None:
    result = cli(*command, "--help")
    assert result.code == 0
    assert "Usage: " in result.out
    assert result.err == ""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_speaks_json(cli: Cli, command: list[str]) -> None:
    assert "--json" in cli(*command, "--help").out


def test_from_teacher_to_images(cli: Cli, tmp_path: Path) -> None:
    made = cli("precompute", "--teacher", "mixture", "--store", tmp_path / "stores", *TINY)
    assert made.code == 0
    assert [one.uri for one in list_stores(str(tmp_path / "stores"))] == [made.uri]
    assert "store sealed: 32 trajectories, 2 of 2 shards computed" in made.out
    again = cli("precompute", "--teacher", "mixture", "--store", tmp_path / "stores", *TINY)
    assert again.uri == made.uri
    assert "store was sealed already: 32 trajectories, 0 of 2 shards computed" in again.out

    spec = write_spec(tmp_path / "spec.json")
    trained = cli("train", "--store", made.uri, "--out", tmp_path / "run", "--spec", spec, "--samples", 48)
    assert (trained.code, trained.uri) == (0, str(tmp_path / "run" / "student"))
    assert "student trained on 48 samples" in trained.out
    assert cli("train", "--store", made.uri, "--out", tmp_path / "run", "--spec", spec, "--samples", 48).code == 0

    pictures = [tmp_path / "pictures" / name for name in ("a.png", "b.png", "c.png")]
    for picture, folder, seed in zip(pictures, (trained.uri, tmp_path / "run", trained.uri), (3, 3, 4), strict=True):
        sampled = cli("sample", folder, "--n", 5, "--seed", seed, "--out", picture)
        assert (sampled.code, sampled.uri) == (0, str(picture))
    one, same, other = (path.read_bytes() for path in pictures)
    assert one == same != other
    with Image.open(pictures[0]) as image:
        assert min(image.size) > 32
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["a.png", "b.png", "c.png"]

    for command in (["show", made.uri], ["verify", made.uri], ["ls", tmp_path / "stores"]):
        found = cli("cache", *command)
        assert (found.code, found.uri) == (0, str(command[1]))


def test_json_holds_the_uri(cli: Cli, tmp_path: Path) -> None:
    made = cli("precompute", "--teacher", "mixture", "--store", tmp_path / "stores", *TINY, "--json")
    store = json.loads(made.out)
    assert store["num_samples"] == 32
    assert store["computed"] == store["shards"] == 2
    spec = write_spec(tmp_path / "spec.json", samples=24)
    trained = json.loads(cli("train", "--store", store["uri"], "--out", tmp_path / "run", "--spec", spec, "--json").out)
    assert trained["uri"] == str(tmp_path / "run" / "student")
    assert trained["spec"]["samples"] == 24
    sampled = cli("sample", tmp_path / "run", "--n", 2, "--out", tmp_path / "x.png", "--json")
    assert json.loads(sampled.out) == {"uri": str(tmp_path / "x.png"), "n": 2, "seed": 0}
    shown = json.loads(cli("teacher", "show", "mixture", "--json").out)
    assert shown["sample_shape"] == [1, 16, 16]
    assert len(shown["fingerprint"]) == 64


def test_timesteps_are_taken_as_given(cli: Cli, tmp_path: Path) -> None:
    common = ("precompute", "--teacher", "mixture", "--store", tmp_path, *TINY)
    listed = cli(*common, "--timesteps", "999,499,0")
    assert listed.code == 0
    assert cli(*common).uri == listed.uri


def test_more_samples_later_extend_the_store(cli: Cli, tmp_path: Path) -> None:
    few = cli("precompute", "--teacher", "mixture", "--store", tmp_path, *TINY, "--json")
    more = cli("precompute", "--teacher", "mixture", "--store", tmp_path, *TINY, "--samples", 40, "--json")
    assert json.loads(few.out)["uri"] == json.loads(more.out)["uri"]
    assert (json.loads(more.out)["num_samples"], json.loads(more.out)["computed"]) == (40, 1)


def test_assets_are_made_anew(cli: Cli, tmp_path: Path) -> None:
    trained = cli("teacher", "train-digits", "--out", tmp_path / "teacher", "--images", 128)
    assert (trained.code, trained.uri) == (0, str(tmp_path / "teacher"))
    shown = cli("teacher", "show", tmp_path / "teacher")
    assert "name: teacher" in shown.out
    assert "train_timesteps: 1000" in shown.out


def test_as_a_process(tmp_path: Path) -> None:
    """Stdout holds the result alone, stderr no warning: also with `-W error`."""
    made = run("precompute", "--teacher", "mixture", "--store", tmp_path, *TINY, PYTHONWARNINGS="error::UserWarning")
    assert (made.code, made.err) == (0, "")
    assert len(made.out.splitlines()) == 2
    assert Path(made.uri).is_dir()
    assert_refused(run("sample", tmp_path / "nothing"), "a student is a folder with config.json", "advkd train")


def test_no_arguments_show_the_help_and_a_typo_is_a_usage_error(cli: Cli) -> None:
    assert "Usage: " in cli().out
    typo = cli("precompute", "--sample", "3")
    assert typo.code == 2
    assert "No such option" in typo.err


# -- bad input: teachers ----------------------------------------------------------------------------------------------


def no_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def pickle_only(folder: Path) -> None:
    no_weights(folder)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"never opened")


def wrong_class(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusionPipeline"}))


def nan_weights(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_out.bias"].fill_(float("nan"))
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("breakage", "parts"),
    [
        (no_weights, ("needs weights", "safe_serialization=True")),
        (pickle_only, ("must be safetensors", "only pickle files")),
        (wrong_class, ("must be one of", "StableDiffusionPipeline", "choose another teacher")),
        (nan_weights, ("must be finite", "NaN or infinity", "check the teacher's weights")),
    ],
)
def test_bad_teachers(
    cli: Cli, teacher_folder: FolderMaker, tmp_path: Path, breakage: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    folder = teacher_folder()
    breakage(folder)
    assert_refused(cli("precompute", "--teacher", folder, "--store", tmp_path / "stores", *TINY), *parts)
    assert list_stores(str(tmp_path / "stores")) == []


@pytest.mark.parametrize("name", ["digit", "nobody/nothing"])
def test_unknown_teachers(cli: Cli, tmp_path: Path, name: str) -> None:
    result = cli("precompute", "--teacher", name, "--store", tmp_path / "stores", *TINY)
    assert_refused(result, f"got {name!r}", "['digits', 'mixture']")
    assert_refused(cli("teacher", "show", name), f"got {name!r}")


# -- bad input: numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--timesteps", "0,499"], ("strictly decreasing", "got (0, 499)", "sort them")),
        (["--timesteps", "1999,0"], ("must lie in [0, 999]", "[1999]")),
        (["--timesteps", "500,0"], ("on the grid of the solver", "[500]", "(999, 749, 499, 249, 0)")),
        (["--timesteps", "fast"], ("integers separated by commas", "'fast'")),
        (["--timesteps", ""], ("integers separated by commas", "''")),
        (["--samples", "0"], ("samples must be positive", "got 0")),
        (["--samples", "-5"], ("samples must be positive", "got -5")),
        (["--captures", "0"], ("captures must be positive",)),
        (["--captures", "9"], ("captures must lie in [1, 4]", "got 9")),
        (["--steps", "0"], ("steps must be positive", "got 0")),
        (["--steps", "3"], ("must divide the teacher's 1000", "got 3")),
        (["--steps", "2000"], ("must lie in [1, 1000]", "got 2000")),
        (["--seed", "-1"], ("base seed", "got -1")),
        (["--shard-samples", "7"], ("multiple of block_samples", "got 7")),
        (["--block-samples", "0"], ("block_samples must be positive",)),
        (["--format", "lmdb"], ("format must be one of", "'lmdb'")),
        (["--dtype", "int8"], ("dtype must be one of", "'int8'")),
        (["--solver", "euler"], ("solver must be one of", "'euler'")),
    ],
)
def test_bad_numbers_for_precompute(cli: Cli, tmp_path: Path, arguments: list[str], parts: tuple[str, ...]) -> None:
    result = cli("precompute", "--teacher", "mixture", "--store", tmp_path / "stores", *TINY, *arguments)
    assert_refused(result, *parts)
    assert not (tmp_path / "stores").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there(cli: Cli, mixture_store: str, teacher_folder: FolderMaker, tmp_path: Path) -> None:
    parts = ("a CUDA device must be there", "use cpu")
    folder = teacher_folder()
    assert_refused(cli("precompute", "--teacher", folder, "--store", tmp_path, *TINY, "--device", "cuda"), *parts)
    assert_refused(cli("train", "--store", mixture_store, "--out", tmp_path / "run", "--device", "cuda"), *parts)
    spec = write_spec(tmp_path / "spec.json", samples=24)
    assert cli("train", "--store", mixture_store, "--out", tmp_path / "run", "--spec", spec).code == 0
    assert_refused(cli("sample", tmp_path / "run", "--out", tmp_path / "x.png", "--device", "cuda"), *parts)
    evaluation = ("evaluate", "--teacher", "mixture", "--out", tmp_path / "out", "--references", tmp_path / "refs")
    assert_refused(cli(*evaluation, "--student", tmp_path / "run", "--device", "cuda"), *parts)


def test_bad_requests_for_samples(cli: Cli, mixture_store: str, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "spec.json", samples=24)
    assert cli("train", "--store", mixture_store, "--out", tmp_path / "run", "--spec", spec).code == 0
    out = ("--out", tmp_path / "x.png")
    assert_refused(cli("sample", tmp_path / "run", "--n", 0, *out), "must be positive, got 0")
    assert_refused(cli("sample", tmp_path / "run", "--seed", -2, *out), "base seed", "got -2")
    assert_refused(cli("sample", tmp_path, *out), "got neither in")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("{", ("must be a JSON file",)),
        ('{"lr": 1}', ("keys among", "['lr']")),
        ('{"samples": -1}', ("TrainSpec.samples must be a positive whole number", "got -1")),
        ('{"samples": "many"}', ("TrainSpec.samples must be a positive whole number", "'many'")),
        (None, ("must be a JSON file", "FileNotFoundError")),
    ],
)
def test_bad_training_settings(
    cli: Cli, mixture_store: str, tmp_path: Path, content: str | None, parts: tuple[str, ...]
) -> None:
    if content is not None:
        (tmp_path / "spec.json").write_text(content)
    result = cli("train", "--store", mixture_store, "--out", tmp_path / "run", "--spec", tmp_path / "spec.json")
    assert_refused(result, *parts)
    assert not (tmp_path / "run").exists()


def test_bad_requests_for_an_evaluation(cli: Cli, tmp_path: Path) -> None:
    common = ("evaluate", "--teacher", "mixture", "--out", tmp_path / "out", "--references", tmp_path / "refs")
    assert_refused(cli(*common, "--student", tmp_path / "none"), "a student is a folder with config.json")
    assert_refused(cli(*common, "--student", tmp_path, "--samples", 0), "samples must be at least", "got 0")
    assert not (tmp_path / "out").exists()


def test_unknown_preset(cli: Cli, mixture_store: str, tmp_path: Path) -> None:
    result = cli("train", "--store", mixture_store, "--out", tmp_path / "run", "--preset", "best")
    assert_refused(result, "preset must be one of", "'best'")


# -- bad input: stores and runs ---------------------------------------------------------------------------------------


def test_a_store_that_is_half_written(cli: Cli, tmp_path: Path) -> None:
    compute_shard(mixture_spec(tmp_path / "stores"), 0)
    uri = list_stores(str(tmp_path / "stores"))[0].uri
    result = cli("train", "--store", uri, "--out", tmp_path / "run")
    assert_refused(result, "store")
    assert not (tmp_path / "run").exists()


def test_a_store_that_is_damaged(cli: Cli, tmp_path: Path) -> None:
    uri = precompute(mixture_spec(tmp_path / "stores", samples=16)).uri
    data = max((path for path in Path(uri).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[:-1])
    spec = write_spec(tmp_path / "spec.json")
    assert_refused(cli("train", "--store", uri, "--out", tmp_path / "run", "--spec", spec), data.name)


def test_no_store(cli: Cli, tmp_path: Path) -> None:
    assert_refused(cli("train", "--store", tmp_path / "none", "--out", tmp_path / "run"), str(tmp_path / "none"))


def test_a_store_of_another_spec(cli: Cli, tmp_path: Path) -> None:
    """A store's folder that was renamed: what lies there is not what its name promises."""
    one = precompute(mixture_spec(tmp_path / "a", samples=32)).uri
    other = cli("precompute", "--teacher", "mixture", "--store", tmp_path / "b", *TINY, "--seed", 9).uri
    shutil.rmtree(other)
    shutil.copytree(one, other)
    assert_refused(cli("precompute", "--teacher", "mixture", "--store", tmp_path / "b", *TINY, "--seed", 9), "spec")


def test_a_stochastic_store(cli: Cli, tmp_path: Path) -> None:
    uri = precompute(mixture_spec(tmp_path, samples=16, solver=SolverSpec(kind="ddpm", steps=4))).uri
    assert_refused(cli("train", "--store", uri, "--out", tmp_path / "run"), "needs a deterministic sampler", "'ddpm'")


def test_a_checkpoint_of_another_student(cli: Cli, mixture_store: str, tmp_path: Path) -> None:
    common = ("train", "--store", mixture_store, "--out", tmp_path / "run", "--spec")
    assert cli(*common, write_spec(tmp_path / "a.json")).code == 0
    before = [path.name for path in checkpoints(tmp_path / "run")]
    other = write_spec(tmp_path / "b.json", seed=3)
    assert_refused(cli(*common, other), "the settings it began with", "seed: 0 there, 3 here", "another output folder")
    assert [path.name for path in checkpoints(tmp_path / "run")] == before


def test_a_loss_that_is_not_finite(cli: Cli, mixture_store: str, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "spec.json", learning_rate=1e30)
    result = cli("train", "--store", mixture_store, "--out", tmp_path / "run", "--spec", spec)
    assert_refused(result, "must stay finite", "last good checkpoint", "lower learning_rate")


def test_a_folder_where_nothing_can_be_written(cli: Cli, mixture_store: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = tmp_path / "file" / "below"
    spec = write_spec(tmp_path / "spec.json", samples=24)
    assert_refused(cli("precompute", "--teacher", "mixture", "--store", blocked, *TINY), str(blocked))
    assert_refused(cli("train", "--store", mixture_store, "--out", blocked, "--spec", spec), str(blocked))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(cli: Cli, mixture_store: str, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    spec = write_spec(tmp_path / "spec.json", samples=24)
    assert_refused(cli("precompute", "--teacher", "mixture", "--store", closed, *TINY), str(closed))
    assert_refused(cli("train", "--store", mixture_store, "--out", closed, "--spec", spec), str(closed))


def test_a_full_disk(cli: Cli, tmp_path: Path) -> None:
    """A real limit on file size (4 KiB) stands for the disk."""
    arguments = ("precompute", "--teacher", "mixture", "--store", tmp_path / "stores", *TINY)
    result = run(*arguments, shell_limit="ulimit -f 4")
    assert_refused(result, str(tmp_path / "stores"))
    assert not any(one.state == "sealed" for one in list_stores(str(tmp_path / "stores")))
    assert cli(*arguments).code == 0


# -- bad input: S3 ----------------------------------------------------------------------------------------------------


def test_s3_that_works(cli: Cli, s3_root: str) -> None:
    made = cli("precompute", "--teacher", "mixture", "--store", s3_root, *TINY)
    assert made.code == 0
    assert made.uri.startswith(s3_root)
    assert cli("cache", "verify", made.uri).code == 0


def test_a_bucket_that_is_missing(cli: Cli, s3_root: str) -> None:
    result = cli("precompute", "--teacher", "mixture", "--store", "s3://no-such-bucket/stores", *TINY)
    assert_refused(result, "no-such-bucket")


def test_a_wrong_key(cli: Cli, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    result = cli("precompute", "--teacher", "mixture", "--store", s3_root, *TINY)
    assert_refused(result, "AWS_SECRET_ACCESS_KEY", "HTTP 403")
    assert "not-the-secret" not in result.err


def test_an_endpoint_that_does_not_answer(cli: Cli, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    result = cli("precompute", "--teacher", "mixture", "--store", s3_root, *TINY)
    assert_refused(result, "127.0.0.1:9")
