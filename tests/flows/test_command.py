"""Flows as commands: exit codes, one clear message, nothing of Prefect's on the terminal."""

import json
import os
import subprocess
import sys
import time
from signal import SIGINT, SIGKILL, SIGTERM

import psutil
import pytest

from advkd import trajectories as library
from flows.command import main
from flows.distill import distill
from flows.precompute import precompute
from flows.recipe.planning import recipe
from tests.flows.deployed_home import copy_database
from tests.flows.machine import CHECKOUT, processes_below
from tests.flows.processes.test_child import wait_until

NOISE = ("Traceback", "Warning", "prefect.", "Beginning flow run", "Error logging")


def run(flow, argv, capsys, **options):
    with pytest.raises(SystemExit) as exit_info:
        main(flow, argv=argv, **options)
    captured = capsys.readouterr()
    assert not [word for word in NOISE if word in captured.err]
    return exit_info.value.code, captured.out, " ".join(captured.err.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--precompute", '{"sampels": 3}'], "precompute.sampels: Unexpected keyword argument"),
        (["--precompute", '{"solver": {"step": 3}}'], "precompute.solver.step: Unexpected keyword argument"),
        (["--train", '{"samples": -1}'], "train.layerwise: Value error, TrainSpec.samples must be"),
        (["--train", '{"method": "paper", "samples": -1}'], "train.paper: Value error, PaperSpec.samples must be"),
        (["--train", '{"method": "paper", "warmup": 1}'], "train.paper.warmup: Unexpected keyword argument"),
        (["--train", "{samples: 1}"], "must be JSON, got '{samples: 1}'"),
        (["--train", "[1]"], "must be a JSON object"),
        (["--preset", "fast"], "preset: Input should be 'quick', 'full', 'large' or 'paper'"),
        (["--samples", "many"], "samples: Input should be a valid integer"),
        (["--tea", "--unknown", "1"], "expected one argument"),
    ],
)
def test_bad_parameters_are_told_before_anything_starts(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(distill, argv, capsys, check=recipe)
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--teacher", "mixtur"], "a teacher must be an embedded name, a folder, a URI or a hub id, got 'mixtur'"),
        (["--root", "s3://bucket/runs"], "a registry needs a database, which cannot lie in an object store, got s3:"),
        (["--root", "s3://me:password@bucket/runs"], "a URI must not hold credentials or a query, got some in one"),
        (
            ["--teacher", "mixture", "--precompute", '{"timesteps": [7, 0]}'],
            "timesteps must be on the grid",
        ),
        (["--teacher", "mixture", "--precompute", '{"teacher": "other/one"}'], "a distillation has one teacher"),
        (["--samples", "1"], "EvaluateSpec.samples must be at least 8, got 1"),
        (["--samples", "0"], "EvaluateSpec.samples must be at least 8, got 0"),
        (["--model", "a/b"], "RegisterSpec.model must be a name without"),
        (["--model", ""], "RegisterSpec.model must be a name without"),
        (
            ["--teacher", "mixture", "--precompute", '{"solver": {"kind": "ddpm"}}'],
            "needs a deterministic sampler, got a cache of 'ddpm'",
        ),
        (["--teacher", "mixture", "--train", '{"student": {"patch": 3}}'], "patch must divide height and width"),
        (
            ["--teacher", "mixture", "--train", '{"discriminator": {"patch": 3}}'],
            "DiscriminatorSpec.patch must divide height and width",
        ),
        (
            ["--teacher", "mixture", "--preset", "quick", "--train", '{"trajectories": 5121}'],
            "cannot have more trajectories than its cache, got trajectories=5121 of 5120",
        ),
        (
            ["--teacher", "mixture", "--train", '{"submodule_weights": [1.0]}'],
            "submodule_weights must have one weight per submodule",
        ),
    ],
)
def test_parameters_that_do_not_fit_the_teacher_are_told_before_the_run(argv, message, capsys, api, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code, out, err = run(distill, argv, capsys, check=recipe)
    assert (code, out) == (2, "")
    assert message in err
    assert "password" not in err


def test_a_place_for_log_lines_that_is_none_is_refused_before_anything_starts(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADVKD_LOG", "runs.log")
    code, out, err = run(precompute, ["--spec", '{"teacher": "mixture", "store": "stores"}'], capsys)
    assert (code, out) == (2, "")
    assert "ADVKD_LOG must be json or a path that ends with .jsonl, got 'runs.log'" in " ".join(err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_value_error_of_the_run_itself_is_no_bad_parameter(capsys, api, monkeypatch):
    monkeypatch.setattr(library, "what_is_missing", refuse)
    code, out, err = run(precompute, ["--spec", '{"teacher": "mixture", "store": "stores"}'], capsys)
    assert (code, out, err) == (1, "", "error: rule, fact, remedy")


def refuse(spec):
    raise ValueError("rule, fact, remedy")


def test_a_run_says_what_it_did_and_prints_its_result(capsys, api):
    argv = ["--spec", '{"teacher": "mixture", "store": "stores", "samples": 256, "shard_samples": 128}']
    code, out, err = run(precompute, argv, capsys)
    assert code == 0
    assert '"computed": 2' in out
    assert err.startswith("precompute store sealed: 256 trajectories in 2 shards, 2 computed, 0 reused, ")
    # For machines, whatever there is to show to people.
    code, out, err = run(precompute, [*argv, "--json"], capsys, show=refuse)
    assert code == 0
    again = json.loads(out)
    assert (again["computed"], again["passes"], again["bytes_written"]) == (0, 0, 0)
    assert err == "precompute store is sealed already: 256 trajectories in 2 shards, no shard recomputed"


def test_a_store_is_called_sealed_already_only_where_it_was(capsys, api):
    spec = library.PrecomputeSpec(teacher="mixture", store="stores", samples=256, shard_samples=128)
    for shard in (0, 1):
        library.Filling.of(spec).compute(shard)
    argv = ["--spec", '{"teacher": "mixture", "store": "stores", "samples": 256, "shard_samples": 128}']
    _, _, err = run(precompute, argv, capsys)
    assert err.startswith("precompute store sealed: 256 trajectories in 2 shards, 0 computed, 2 reused, ")


def test_a_failure_is_one_line_and_exit_code_1(capsys, api, monkeypatch):
    argv = ["--spec", '{"teacher": "mixture", "store": "/proc/nowhere"}']
    code, out, err = run(precompute, argv, capsys)
    assert (code, out) == (1, "")
    assert "must be writable" in err


@pytest.mark.slow
@pytest.mark.parametrize("endings", [(SIGINT,), (SIGTERM, SIGKILL)])
def test_nothing_runs_on_when_the_command_ends(endings, machine, deployed, tmp_path):
    """Ctrl-C, a polite kill, and the worst: its own Prefect server and the training process end with it."""
    for ending in endings:
        copy_database(deployed, tmp_path / ending.name / "prefect")
    commands = {ending: start(machine, tmp_path / ending.name) for ending in endings}
    try:
        for command in commands.values():
            assert wait_until(lambda command=command: processes_below("advkd train", command.pid), 280)
        time.sleep(1)
        started = {ending: psutil.Process(one.pid).children(recursive=True) for ending, one in commands.items()}
        assert all(len(processes) >= 2 for processes in started.values())
        for ending, command in commands.items():
            os.kill(command.pid, ending)
        # A child may take 5 s, the last events 5, a server 15 before it is killed, all on busy cores.
        output = {ending: command.communicate(timeout=180)[0] for ending, command in commands.items()}
    finally:
        for command in commands.values():
            command.kill()
            command.communicate()
    codes = {ending: command.returncode for ending, command in commands.items()}
    if SIGINT in endings:
        assert codes == {SIGINT: 130}
        assert "Traceback" not in output[SIGINT]
        assert "run the same command again to go on" in output[SIGINT]
    else:
        # While a flow runs the signal is Prefect's, which hands it on to the default action.
        assert codes[SIGTERM] in (-SIGTERM, 128 + SIGTERM, 130)
        assert codes[SIGKILL] == -SIGKILL
    for ending, processes in started.items():
        assert wait_until(lambda processes=processes: not any(one.is_running() for one in processes)), ending
    assert not processes_below("advkd train")


def start(machine, root):
    """`python -m flows.distill` with its own server, and a training that does not end."""
    train = '{"samples": 10000000, "student": {"width": 16, "blocks": 1}}'
    trajectories = '{"samples": 256, "shard_samples": 128}'
    given = ["--teacher", "mixture", "--root", str(root), "--train", train, "--precompute", trajectories]
    environment = {name: value for name, value in machine.environment.items() if name != "PREFECT_API_URL"}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.distill", *given],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
