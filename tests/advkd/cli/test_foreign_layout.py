"""A layout that an installed package adds goes the whole way from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import open_store
from tests.advkd.cli.calls import TINY
from tests.advkd.conftest import write_spec
from tests.storage.layouts.toy import install

pytestmark = pytest.mark.timeout(300)


def test_precompute_verify_convert_and_train(tmp_path: Path) -> None:
    package = install(tmp_path / "site")
    path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])

    def advkd(*arguments: object) -> str:
        command = [sys.executable, "-m", "advkd", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=dict(os.environ, PYTHONPATH=path)
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    made = json.loads(
        advkd("precompute", "--teacher", "mixture", "--store", tmp_path / "a", "--format", "toy", *TINY, "--json")
    )
    uri = Path(made["uri"])
    assert [file.name for file in sorted((uri / "toys").iterdir())] == ["000000.bin", "000001.bin", "README"]
    advkd("cache", "verify", uri)
    other = json.loads(advkd("cache", "convert", uri, "--to", "zarr", "--json"))["uri"]
    back = json.loads(advkd("cache", "convert", other, "--to", "toy", "--root", tmp_path / "b", "--json"))["uri"]
    for file in (uri / "toys").iterdir():
        assert Path(back, "toys", file.name).read_bytes() == file.read_bytes()
    assert open_store(other).manifest.spec.layout == "zarr"
    spec = write_spec(tmp_path / "spec.json")
    advkd("train", "--store", uri, "--out", tmp_path / "run", "--spec", spec, "--samples", 48)
    assert (tmp_path / "run" / "student").is_dir()
