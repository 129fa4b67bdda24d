"""A registered version behind MLflow's own model server, asked as others ask it."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advkd.export import ExportSpec, export_for_devices
from advkd.registry.tracking import RegisterSpec, register
from advkd.registry.versions import DATABASE, sqlite_url
from advkd.students import load_student
from tests.advkd.evaluation.parts import Evaluated

pytestmark = [pytest.mark.thorough, pytest.mark.slow]
SERVE = "import sys; from mlflow.cli import cli; sys.argv[0] = 'mlflow'; cli()"


def ask(port: int, question: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert server.poll() is None
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=10).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not answer in two minutes")


def test_the_server_answers_for_a_registered_version(evaluated: Evaluated, tmp_path: Path) -> None:
    student, runs, onnx = evaluated.spec.student, tmp_path / "runs", tmp_path / "onnx"
    export_for_devices(ExportSpec(student=student, out=str(onnx), noises=4, seconds=0.0, memory=False))
    made = register(
        RegisterSpec(
            student=student, report=evaluated.spec.out, out=str(tmp_path / "model"), runs=str(runs), onnx=str(onnx)
        )
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ("models", "serve", "-m", f"models:/{made.name}@{made.alias}", "--env-manager", "local")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": sqlite_url(runs / DATABASE), "MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVE, *command, "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            wait_for(port, server)
            (images,) = ask(port, {"dataframe_records": [{"n": 3, "seed": 5}], "params": {"format": "array"}})
            expected = load_student(student).sample(3, seed=5).images
            np.testing.assert_allclose(images, (expected / 2 + 0.5).clamp(0, 1).numpy(), rtol=0, atol=1e-5)
            two = ask(port, {"dataframe_records": [{"n": 2, "seed": 0}, {"n": 1, "seed": 1}]})
            assert [len(answer) for answer in two] == [2, 1]
            assert base64.b64decode(two[0][0]).startswith(b"\x89PNG")
            with pytest.raises(urllib.error.HTTPError) as refused:
                ask(port, {"dataframe_records": [{"n": 0}]})
            assert refused.value.code == 400
            assert b"n must lie in [1, 1024], got 0" in refused.value.read()
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    network = Path(made.uri) / "onnx" / "model.onnx"
    network.write_bytes(network.read_bytes()[:-9])
    load = "import sys, mlflow.pyfunc; mlflow.pyfunc.load_model(sys.argv[1])"
    refused = subprocess.run([sys.executable, "-W", "ignore", "-c", load, made.uri], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "a network must be the one that metadata.json describes, got " in refused.stderr
