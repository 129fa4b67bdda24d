"""The deployments as a user runs them: `prefect deployment run`, a real server, a real worker."""

import json

import pytest

from storage.commits import committed_shards, read_commit
from tests.flows.machine import CHECKOUT

TINY = [
    "teacher=mixture",
    'precompute={"samples": 256, "shard_samples": 128}',
    'train={"samples": 512, "student": {"width": 16, "blocks": 1}, "rise_samples": 64}',
    "samples=64",
]


def commits(summary, root):
    uri = str(root / summary["store"])
    return {shard: read_commit(uri, shard).created for shard in committed_shards(uri)}


def test_quick_completes_and_a_second_run_recomputes_nothing(machine, tmp_path):
    parameters = [*TINY, f"root={tmp_path}"]
    first = machine.run_deployment("distill/quick", parameters)
    assert first.returncode == 0, first.stdout + machine.worker_log.read_text()
    assert "Completed" in first.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["shards"] == {"computed": 2, "reused": 0}
    assert summary["trained"]
    assert (tmp_path / summary["report"]).is_file()
    before = commits(summary, tmp_path)

    second = machine.run_deployment("distill/quick", parameters)
    assert second.returncode == 0, second.stdout + machine.worker_log.read_text()
    again = json.loads((tmp_path / "summary.json").read_text())
    assert again["shards"] == {"computed": 0, "reused": 2}
    assert not again["trained"]
    assert commits(again, tmp_path) == before
    assert again["model"] == summary["model"]
    assert "no shard recomputed" in machine.worker_log.read_text()


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ('precompute={"sampels": 3}', "sampels"),
        ('precompute={"solver": {"step": 3}}', "step"),
        ('train={"students": 3}', "students"),
        ("precision=1", "precision"),
        ("preset=fast", "fast"),
    ],
)
def test_unknown_parameters_are_refused_before_a_run_is_created(machine, parameter, message):
    refused = machine.prefect("deployment", "run", "distill/quick", "--param", parameter)
    assert refused.returncode != 0
    assert message in refused.stdout
    assert "Created flow run" not in refused.stdout


def test_a_value_that_breaks_a_rule_fails_the_run_with_the_rule_before_it_starts(machine, tmp_path):
    failed = machine.run_deployment("distill/quick", [f"root={tmp_path}", 'precompute={"samples": -3}'])
    assert failed.returncode != 0
    assert "PrecomputeSpec.samples must be positive, got -3; use at least 1" in machine.worker_log.read_text()
    assert list(tmp_path.iterdir()) == []


def test_deploying_again_changes_nothing(machine):
    before = machine.prefect("deployment", "ls").stdout
    again = machine.python("-m", "flows.deploy")
    assert again.returncode == 0, again.stdout
    assert "work pool" not in again.stdout
    assert machine.prefect("deployment", "ls").stdout == before
    assert "distill/quick" in before
    assert "distill/full" in before


def test_git_holds_no_path_of_this_machine():
    assert str(CHECKOUT) not in (CHECKOUT / "prefect.yaml").read_text()
