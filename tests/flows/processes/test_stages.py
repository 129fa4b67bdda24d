"""What runs are called on Prefect's page, and that our commands send it no usage reports."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from flows.distill import distill
from flows.evaluate import evaluate
from flows.export import export
from flows.precompute import precompute
from flows.processes import stages
from flows.processes.logs import run_digest
from flows.register import register
from flows.train import train
from storage.objects import PATIENCE


def name_of(flow, parameters, monkeypatch):
    monkeypatch.setattr(stages.flow_run, "get_parameters", lambda: parameters)
    return flow.flow_run_name()


@pytest.mark.parametrize(
    ("flow", "parameters", "words"),
    [
        (distill, {"teacher": "digits", "preset": "quick"}, "digits · quick"),
        (distill, {"teacher": "s3://user:secret@bucket/teachers/cats#guidance=2"}, "cats · full"),
        (distill, {"teacher": "google/ddpm-cifar10-32@abc", "preset": "large"}, "ddpm-cifar10-32@abc · large"),
        (precompute, {"spec": {"teacher": "mixture"}}, "mixture"),
        (train, {"spec": {"method": "layerwise"}, "store": "s", "out": "runs/students/digits-0123"}, "digits-0123"),
    ],
)
def test_a_run_is_called_by_what_it_is_about_and_by_its_digest(flow, parameters, words, monkeypatch):
    named = name_of(flow, parameters, monkeypatch)
    assert named == f"{words} · {run_digest(flow, parameters)[:8]}"
    assert "secret" not in named


def test_defaults_count_the_same_whether_given_or_left_out(monkeypatch):
    short = name_of(distill, {"preset": "quick"}, monkeypatch)
    assert short == name_of(distill, {"teacher": "digits", "preset": "quick", "root": "runs"}, monkeypatch)
    assert short != name_of(distill, {"preset": "quick", "samples": 64}, monkeypatch)


def test_a_run_with_bad_parameters_fails_by_itself_not_by_its_name(monkeypatch):
    assert name_of(distill, {"preset": "quickest"}, monkeypatch) == "distill"


def test_prefect_is_told_to_send_nothing_before_it_is_imported(tmp_path):
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "__init__.py").write_text("import os; print(os.environ['DO_NOT_TRACK'])")
    clean = {name: value for name, value in os.environ.items() if name != "DO_NOT_TRACK"}
    root = Path(__file__).parents[3]
    told = subprocess.run(
        [sys.executable, "-c", "import flows, prefect"],
        env=clean | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "1\n"


@pytest.mark.parametrize("flow", [precompute, train, evaluate, export, register, distill])
def test_a_flow_travels_by_its_name(flow):
    carried = cloudpickle.dumps(flow)
    assert len(carried) < 200
    assert pickle.loads(carried) is flow


@pytest.mark.thorough
def test_a_flow_that_is_run_as_a_command_travels_too():
    program = (
        "import cloudpickle, runpy, sys\n"
        "from flows import command\n"
        "command.main = lambda flow: sys.stdout.buffer.write(cloudpickle.dumps(flow))\n"
        "runpy.run_module('flows.evaluate', run_name='__main__', alter_sys=True)\n"
    )
    carried = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert pickle.loads(carried) is evaluate


def test_another_flow_of_the_same_function_travels_by_value():
    changed = cloudpickle.loads(cloudpickle.dumps(precompute.with_options(name="mine")))
    assert (changed.name, precompute.name) == ("mine", "precompute")


def test_a_run_and_what_it_starts_wait_for_s3_unless_it_is_said_otherwise(monkeypatch):
    monkeypatch.delenv(PATIENCE)
    stages.wait_for_s3()
    assert os.environ[PATIENCE] == "60"
    monkeypatch.setenv(PATIENCE, "5")
    stages.wait_for_s3()
    assert os.environ[PATIENCE] == "5"
    assert all(stages.wait_for_s3 in flow.on_running_hooks for flow in (precompute, distill, train))
