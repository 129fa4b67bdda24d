"""`advkd teacher show` and `advkd teacher convert`."""

import json
from pathlib import Path

import pytest

from tests.advkd.cli.calls import Cli, assert_refused
from tests.advkd.conftest import FolderMaker
from tests.advkd.teachers.folders import as_variants, pickled


def test_show_says_which_weights_are_taken(cli: Cli, teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    as_variants(folder, "bf16")
    shown = cli("teacher", "show", folder)
    assert "unet/diffusion_pytorch_model.bf16.safetensors" in shown.out.splitlines()[-1]
    facts = json.loads(cli("teacher", "show", folder, "--json").out)
    assert facts["files"][-1] == "unet/diffusion_pytorch_model.bf16.safetensors"
    assert json.loads(cli("teacher", "show", "digits", "--json").out)["files"] == []


@pytest.mark.thorough
def test_convert_makes_a_folder_that_loads(cli: Cli, teacher_folder: FolderMaker, tmp_path: Path) -> None:
    folder, out = teacher_folder(), tmp_path / "new"
    expected = json.loads(cli("teacher", "show", folder, "--json").out)["fingerprint"]
    pickled(folder)
    assert_refused(cli("teacher", "show", folder), "got only pickle files", "advkd teacher convert SOURCE --out FOLDER")
    done = cli("teacher", "convert", folder, "--out", out, "--json")
    assert json.loads(done.out) == {"uri": str(out), "fingerprint": expected}
    assert json.loads(cli("teacher", "show", out, "--json").out)["fingerprint"] == expected
    assert_refused(cli("teacher", "convert", folder, "--out", out), "needs a new folder", str(out))
    assert_refused(cli("teacher", "convert", out, "--out", tmp_path / "b"), "nothing but pickles is converted")
