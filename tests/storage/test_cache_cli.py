"""`advkd cache ls|show|verify`, as typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from advkd.cache_cli import app
from storage import digest, join, open_writer, store_uri
from tests.storage.damage import change_record
from tests.storage.trajectories import fill, make_spec, shard_states

runner = CliRunner()


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A sealed store, a growing one and one with a damaged manifest."""
    root = str(tmp_path)
    fill(root, make_spec(), 20)
    open_writer(root, make_spec(base_seed=8)).write_shard(1, shard_states(make_spec(base_seed=8), 1))
    fill(root, make_spec(base_seed=9), 8)
    address = join(store_uri(root, make_spec(base_seed=9)), "manifest.json")
    change_record(address, {"surprise": 1})
    return root


def test_ls(root: str) -> None:
    result = runner.invoke(app, ["ls", root])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == root
    for part in ("sealed", "growing", "unreadable", "digits", store_uri(root, make_spec())):
        assert part in result.stdout
    listed = json.loads(runner.invoke(app, ["ls", root, "--json"]).stdout)
    assert sorted((one["state"], one["num_samples"]) for one in listed) == [
        ("growing", 8),
        ("sealed", 20),
        ("unreadable", 0),
    ]


def test_ls_of_nothing(tmp_path: Path) -> None:
    result = runner.invoke(app, ["ls", str(tmp_path)])
    assert result.exit_code == 0
    assert "no stores" in result.stdout
    assert json.loads(runner.invoke(app, ["ls", str(tmp_path), "--json"]).stdout) == []


def test_show_prints_everything(root: str) -> None:
    spec = make_spec()
    uri = store_uri(root, spec)
    result = runner.invoke(app, ["show", uri])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == uri
    for part in (digest(spec), spec.fingerprint, "ddim, 20 steps, ODE", "0.010000", "0.990000", "std", "float16", "20"):
        assert part in result.stdout
    shown = json.loads(runner.invoke(app, ["show", uri, "--json"]).stdout)
    assert shown["spec"] == spec.to_json()
    assert set(shown["statistics"]) == {"999", "500", "0"}


def test_show_of_a_growing_store(root: str) -> None:
    result = runner.invoke(app, ["show", store_uri(root, make_spec(base_seed=8))])
    assert result.exit_code == 0
    assert "growing" in result.stdout


def test_verify(root: str) -> None:
    uri = store_uri(root, make_spec())
    result = runner.invoke(app, ["verify", uri])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == uri
    assert json.loads(runner.invoke(app, ["verify", uri, "--json"]).stdout) == {"uri": uri, "ok": True, "problems": []}


def test_verify_of_a_damaged_store(root: str) -> None:
    uri = store_uri(root, make_spec())
    damaged = Path(uri) / "shards" / "t0500" / "c" / "1" / "0" / "0" / "0"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    result = runner.invoke(app, ["verify", uri])
    assert result.exit_code == 1
    assert "shard 1" in result.stderr
    assert f"advkd cache repair {uri}" in result.stderr
    result = runner.invoke(app, ["verify", uri, "--json"])
    assert result.exit_code == 1
    assert [one["shard"] for one in json.loads(result.stdout)["problems"]] == [1]


@pytest.mark.parametrize("command", ["show", "verify"])
def test_what_is_wrong_is_said_without_a_traceback(root: str, command: str) -> None:
    unreadable = store_uri(root, make_spec(base_seed=9))
    for uri, message in ((root + "/nowhere", "nothing at"), (unreadable, "surprise")):
        result = runner.invoke(app, [command, uri])
        assert result.exit_code == 1
        assert message in result.stderr
        assert "Traceback" not in result.output
    result = runner.invoke(app, ["verify", store_uri(root, make_spec(base_seed=8))])
    assert result.exit_code == 1
    assert "not written yet" in result.stderr


def test_a_store_in_s3(s3_root: str) -> None:
    fill(s3_root, make_spec(), 8)
    uri = store_uri(s3_root, make_spec())
    for command in ("show", "verify"):
        result = runner.invoke(app, [command, uri])
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-1] == uri
    assert uri in runner.invoke(app, ["ls", s3_root]).stdout
