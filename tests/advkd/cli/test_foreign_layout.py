"""A layout that an installed package adds goes the whole way from the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import open_store
from tests.advkd.cli.calls import TINY
from tests.advkd.conftest import write_spec
from tests.storage.layouts.toy import install

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]

COMMANDS = """
import contextlib, io, json, sys
from advkd.__main__ import main

def advkd(*arguments):
    sys.argv, out = ["advkd", *arguments], io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as end:
            assert not end.code, (arguments, out.getvalue())
    return out.getvalue()

place, spec, tiny = sys.argv[1], sys.argv[2], sys.argv[3:]
asked = ["--teacher", "mixture", "--store", f"{place}/a", "--format", "toy", *tiny]
made = json.loads(advkd("precompute", *asked, "--json"))
advkd("cache", "verify", made["uri"])
other = json.loads(advkd("cache", "convert", made["uri"], "--to", "zarr", "--json"))
back = json.loads(advkd("cache", "convert", other["uri"], "--to", "toy", "--root", f"{place}/b", "--json"))
advkd("train", "--store", made["uri"], "--out", f"{place}/run", "--spec", spec, "--samples", "48")
print(made["uri"], other["uri"], back["uri"])
"""
"""One after the other in one process, which imports torch once."""


def test_precompute_verify_convert_and_train(tmp_path: Path) -> None:
    package = install(tmp_path / "site")
    path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", COMMANDS, str(tmp_path), str(write_spec(tmp_path / "spec.json")), *TINY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ, PYTHONPATH=path))
    assert done.returncode == 0, done.stderr
    made, other, back = map(Path, done.stdout.split())
    assert [file.name for file in sorted((made / "toys").iterdir())] == ["000000.bin", "000001.bin", "README"]
    for file in (made / "toys").iterdir():
        assert (back / "toys" / file.name).read_bytes() == file.read_bytes()
    assert open_store(str(other)).manifest.spec.layout == "zarr"
    assert (tmp_path / "run" / "student").is_dir()
