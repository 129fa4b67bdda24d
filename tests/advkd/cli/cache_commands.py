"""`advkd cache` as typed, for tests of what it prints where and how it ends."""

import json
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from advkd.cli.cache import app
from storage import join, open_writer, store_uri
from storage.testing.damage import change_record
from storage.testing.trajectories import fill, make_spec, shard_states

_runner = CliRunner()


def make_stores(root: str) -> None:
    """A sealed store, a growing one (base seed 8) and one with a damaged manifest (base seed 9)."""
    fill(root, make_spec(), 20)
    open_writer(root, make_spec(base_seed=8)).write_shard(1, shard_states(make_spec(base_seed=8), 1))
    fill(root, make_spec(base_seed=9), 8)
    change_record(join(store_uri(root, make_spec(base_seed=9)), "manifest.json"), {"surprise": 1})


def run(*arguments: str, code: int = 0) -> Result:
    """What a command that ends with this exit code has printed."""
    result = _runner.invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def told(*arguments: str, code: int = 0) -> Any:
    """What it tells machines."""
    return json.loads(run(*arguments, "--json", code=code).stdout)


def refused(*arguments: str) -> str:
    """The one line that says why."""
    lines = run(*arguments, code=1).stderr.splitlines()
    assert [line[:7] for line in lines] == ["error: "]
    return lines[0]
