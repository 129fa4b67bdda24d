"""The command line: what it prints where, and how it exits."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from advkd.cli.main import command_line
from advkd.teachers.training import TeacherTraining
from storage import list_stores
from tests.advkd.cli.calls import TINY, Cli, run
from tests.advkd.conftest import write_spec


def walked(command: Any, path: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """The arguments that lead to a command, and to all below it."""
    yield list(path)
    for name, below in getattr(command, "commands", {}).items():
        yield from walked(below, (*path, name))


def found(path: list[str]) -> Any:
    command: Any = typer.main.get_command(command_line())
    for name in path:
        command = command.commands[name]
    return command


COMMANDS = list(walked(typer.main.get_command(command_line())))
SERVES = "serves pages until it is stopped, and prints nothing but its address"
WITHOUT_JSON = {"browse": SERVES, "demo": SERVES}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(cli: Cli, command: list[str]) -> None:
    result = cli(*command, "--help")
    assert result.code == 0
    assert "Usage: " in result.out
    assert result.err == ""


def test_every_command_that_prints_something_speaks_json() -> None:
    silent = set()
    for path in COMMANDS:
        command = found(path)
        if hasattr(command, "commands"):
            continue
        flags = [one for one in command.params if "--json" in one.opts]
        if not (flags and flags[0].is_flag and "JSON" in (flags[0].help or "")):
            silent.add(" ".join(path))
    assert {("cache", "ls"), ("registry", "diff"), ("evaluation", "reference"), ("doctor",)} <= set(
        map(tuple, COMMANDS)
    )
    assert silent == WITHOUT_JSON.keys()


def test_from_teacher_to_images(cli: Cli, tmp_path: Path) -> None:
    made = cli("precompute", "--teacher", "mixture", "--store", tmp_path / "stores", *TINY)
    assert made.code == 0
    assert [one.uri for one in list_stores(str(tmp_path / "stores"))] == [made.uri]
    assert "store sealed: 32 trajectories, 2 of 2 shards computed" in made.out
    fewer = cli("precompute", "--teacher", "mixture", "--store", tmp_path / "fewer", *TINY, "--samples", 20)
    assert "store sealed: 20 trajectories of 32 in whole shards, 2 of 2 shards computed" in fewer.out
    again = cli("precompute", "--teacher", "mixture", "--store", tmp_path / "stores", *TINY)
    assert again.uri == made.uri
    assert "store was sealed already: 32 trajectories, 0 of 2 shards computed" in again.out
    # As if the run before had been killed after its last shard.
    for name in ("manifest.json", "seals/000000000032.json"):
        Path(made.uri, name).unlink()
    sealed = cli("precompute", "--teacher", "mixture", "--store", tmp_path / "stores", *TINY)
    assert "store sealed: 32 trajectories, 0 of 2 shards computed" in sealed.out

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


@pytest.mark.thorough
def test_assets_are_made_anew(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advkd.teachers.digits.TRAINING", TeacherTraining(batch_size=4))
    trained = cli("teacher", "train", "digits", "--out", tmp_path / "teacher", "--images", 8)
    assert (trained.code, trained.uri) == (0, str(tmp_path / "teacher"))
    shown = cli("teacher", "show", tmp_path / "teacher")
    assert "name: teacher" in shown.out
    assert "train_timesteps: 1000" in shown.out


@pytest.mark.slow
def test_as_a_process(tmp_path: Path) -> None:
    """Stdout holds the result alone, stderr no warning: also with `-W error`."""
    made = run(
        "precompute",
        "--teacher",
        "mixture",
        "--store",
        tmp_path,
        *TINY,
        "--for-preset",
        "any",
        PYTHONWARNINGS="error::UserWarning",
    )
    assert (made.code, made.err) == (0, "")
    assert len(made.out.splitlines()) == 2
    assert Path(made.uri).is_dir()


LOOKED = """
import sys
from advkd.cli.main import command_line
from typer.testing import CliRunner

for arguments in (["cache", "ls", sys.argv[1]], ["cache", "verify", sys.argv[2]], ["registry", "--help"]):
    result = CliRunner().invoke(command_line(arguments), arguments)
    assert result.exit_code == 0, result.output
print(sorted({"torch", "diffusers", "prefect", "s3fs", "zarr"} & set(sys.modules)))
"""


def test_a_look_at_stores_imports_nothing_that_takes_seconds(mixture_store: str) -> None:
    command = [sys.executable, "-c", LOOKED, str(Path(mixture_store).parent), mixture_store]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_no_arguments_show_the_help_and_a_typo_is_a_usage_error(cli: Cli) -> None:
    assert "Usage: " in cli().out
    typo = cli("precompute", "--sample", "3")
    assert typo.code == 2
    assert "No such option" in typo.err


def test_s3_that_works(cli: Cli, s3_root: str) -> None:
    made = cli("precompute", "--teacher", "mixture", "--store", s3_root, *TINY)
    assert made.code == 0
    assert made.uri.startswith(s3_root)
    assert cli("cache", "verify", made.uri).code == 0
