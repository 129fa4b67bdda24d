"""The command line: one clear line for every bad input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from advkd.teachers import SolverSpec
from advkd.training.checkpoint import checkpoints
from advkd.trajectories import Filling, precompute
from storage import list_stores
from tests.advkd.cli.calls import TINY, Cli, Result, assert_refused
from tests.advkd.conftest import FolderMaker, mixture_spec, write_spec
from tests.advkd.trajectories.forked import Forker, Job, command_of_others, command_with_small_files

# -- bad input: teachers ----------------------------------------------------------------------------------------------


def no_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def pickle_only(folder: Path) -> None:
    no_weights(folder)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"never opened")


def wrong_class(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "KandinskyPipeline"}))


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
        (wrong_class, ("must be one of", "KandinskyPipeline", "choose another teacher")),
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
    assert_refused(result, f"got {name!r}", "['digits', 'digits-classes', 'emoji', 'mixture']")
    assert_refused(cli("teacher", "show", name), f"got {name!r}")


def test_pictures_that_a_recipe_does_not_take(cli: Cli, tmp_path: Path) -> None:
    (file := tmp_path / "pictures.tgz").write_text("something else")
    train = ("teacher", "train", "--out", tmp_path / "out", "--data")
    assert_refused(cli(*train, file, "digits"), "for emoji alone", f"got {file} for digits", "leave --data out")
    assert_refused(cli(*train, file, "emoji"), "with sha256 fb5fd131b362", f"for {file}", "again")
    assert_refused(cli(*train, tmp_path / "nothing.tgz", "emoji"), "which does not exist", "leave --data out")
    assert not (tmp_path / "out").exists()


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
        (["--shrink", "1.5"], ("shrink must lie in (0, 1]", "got 1.5")),
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
    assert_refused(cli(*evaluation, tmp_path / "run", "--device", "cuda"), *parts)


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
        ('{"samples": "many"}', ("TrainSpec.samples must be a whole number, got 'many'; correct it",)),
        (
            '{"method": "other"}',
            ("method must be one of ['layerwise', 'paper'], got 'other'", "advkd.methods"),
        ),
        ('{"method": "paper", "warmup": 0.4}', ("PaperSpec must be an object with keys among", "got ['warmup']")),
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
    assert_refused(cli(*common, tmp_path / "none"), "a student is a folder with config.json")
    assert_refused(cli(*common, tmp_path, "--samples", 0), "samples must be at least", "got 0")
    assert not (tmp_path / "out").exists()


def test_unknown_preset(cli: Cli, mixture_store: str, tmp_path: Path) -> None:
    result = cli("train", "--store", mixture_store, "--out", tmp_path / "run", "--preset", "best")
    assert_refused(result, "preset must be one of", "'best'")


# -- bad input: stores and runs ---------------------------------------------------------------------------------------


def test_a_store_that_is_half_written(cli: Cli, tmp_path: Path) -> None:
    Filling.of(mixture_spec(tmp_path / "stores")).compute(0)
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


def test_a_folder_without_write_permission(fork: Forker, mixture_store: str, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    spec = write_spec(tmp_path / "spec.json", samples=24)
    for arguments in (
        ("precompute", "--teacher", "mixture", "--store", closed, *TINY),
        ("train", "--store", mixture_store, "--out", closed, "--spec", spec),
    ):
        (ended,) = fork.group(Job(command_of_others, tuple(map(str, arguments))))
        assert_refused(Result(ended.code, ended.out, ended.err), str(closed))


def test_a_full_disk(cli: Cli, fork: Forker, tmp_path: Path) -> None:
    """A real limit on file size (4 KiB) stands for the disk."""
    arguments = ("precompute", "--teacher", "mixture", "--store", tmp_path / "stores", *TINY)
    (ended,) = fork.group(Job(command_with_small_files, (4096, *map(str, arguments))))
    assert_refused(Result(ended.code, ended.out, ended.err), str(tmp_path / "stores"))
    assert not any(one.state == "sealed" for one in list_stores(str(tmp_path / "stores")))
    assert cli(*arguments).code == 0


# -- bad input: S3 ----------------------------------------------------------------------------------------------------


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
