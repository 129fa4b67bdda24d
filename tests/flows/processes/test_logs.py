"""Log lines as JSON: each says whose it is, whichever process said it, and none holds a secret."""

import json

import pytest

from advkd.runtime.masking import masked
from advkd.runtime.relay import parse_log_line
from flows.distill import distill
from flows.processes.logs import run_digest
from tests.flows.machine import Machine

FIELDS = {"time", "level", "run_id", "digest", "stage", "logger", "message"}


def lines_of(text):
    """All lines, each of which must be a JSON object with all the fields."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines
    for line in lines:
        assert line.keys() >= FIELDS, line
        assert all(line[name] for name in FIELDS), line
    return lines


BOTH = """
import contextlib, sys
from flows.command import main
from flows.precompute import precompute

for spec in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        main(precompute, argv=["--spec", spec])
    print("ended", file=sys.stderr, flush=True)
"""
"""Two commands in one process, which imports everything once."""


@pytest.mark.slow
def test_a_command_says_nothing_but_json_on_stderr(machine, tmp_path):
    spec = {"teacher": "mixture", "samples": 256, "shard_samples": 128}
    specs = [json.dumps({**spec, "store": store}) for store in (str(tmp_path), "/proc/nowhere")]
    quiet = Machine({**machine.environment, "ADVKD_LOG": "json"}, machine.worker_log)
    well, badly, rest = quiet.python("-c", BOTH, *specs, apart=True).stderr.split("ended\n")
    assert rest == ""
    *texts, last = badly.splitlines()
    said = done, failed = lines_of(well), lines_of("\n".join(texts))
    for lines in said:
        assert {(line["stage"], line["run_id"], line["digest"]) for line in lines} == {
            ("precompute", lines[0]["run_id"], lines[0]["digest"])
        }
    assert done[0]["run_id"] != failed[0]["run_id"]
    assert done[0]["digest"] != failed[0]["digest"]
    assert [line for line in done if line["message"].startswith("store sealed: 256 trajectories")]
    assert {line["task"] for line in done if "task" in line} >= {"shard-000000", "shard-000001"}
    # A traceback is one line too.
    assert [line for line in failed if line["level"] == "error" and "Traceback" in line["message"]]
    assert last.startswith("error: ")


@pytest.mark.parametrize("line", ["", "error: no store", '{"advkd_log": 1}', '{"advkd_log": [1]}', '"advkd_log"'])
def test_other_lines_of_a_child_are_no_records(line):
    assert parse_log_line(line) is None


def test_runs_of_one_spec_share_a_digest_whatever_was_left_out():
    given = run_digest(distill, {"teacher": "mixture", "preset": "quick", "train": {"samples": 512}})
    spelled = {"teacher": "mixture", "preset": "quick", "root": "runs", "train": {"samples": 512, "seed": 0}}
    assert run_digest(distill, spelled) == given
    assert run_digest(distill, {**spelled, "train": {"samples": 513}}) != given
    assert len(given) == 64


def test_secrets_of_the_environment_are_masked(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "MARKED/SECRET")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:MARKED%2Fpassword@host/path")
    monkeypatch.setenv("SOME_TOKEN", "abc")
    text = "put MARKED/SECRET to https://user:MARKED%2Fpassword@host/path as MARKED/password, abc"
    assert masked(text) == "put *** to https://***@host/path as ***, abc"
    assert masked("s3://bucket/a@b:c") == "s3://bucket/a@b:c"
