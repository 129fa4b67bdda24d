"""A layout that an installed package adds goes the whole way from the command line."""

import json
from pathlib import Path

from storage import open_store
from tests.advkd.cli.calls import TINY
from tests.advkd.conftest import write_spec
from tests.advkd.trajectories.forked import Ended, Forker, Job, command_with
from tests.storage.layouts.toy import install


def test_precompute_verify_convert_and_train(fork: Forker, tmp_path: Path) -> None:
    package = install(tmp_path / "site")

    def advkd(*arguments: object) -> Ended:
        (ended,) = fork.group(Job(command_with, (str(package), *map(str, arguments))))
        assert ended.code == 0, (arguments, ended.err)
        return ended

    def uri(*arguments: object) -> Path:
        return Path(json.loads(advkd(*arguments, "--json").out)["uri"])

    made = uri("precompute", "--teacher", "mixture", "--store", tmp_path / "a", "--format", "toy", *TINY)
    advkd("cache", "verify", made)
    other = uri("cache", "convert", made, "--to", "zarr")
    back = uri("cache", "convert", other, "--to", "toy", "--root", tmp_path / "b")
    spec = write_spec(tmp_path / "spec.json")
    advkd("train", "--store", made, "--out", tmp_path / "run", "--spec", spec, "--samples", 48)
    assert [file.name for file in sorted((made / "toys").iterdir())] == ["000000.bin", "000001.bin", "README"]
    for file in (made / "toys").iterdir():
        assert (back / "toys" / file.name).read_bytes() == file.read_bytes()
    assert open_store(str(other)).manifest.spec.layout == "zarr"
    assert (tmp_path / "run" / "student").is_dir()
