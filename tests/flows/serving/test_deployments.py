"""The deployments as a user runs them: `prefect deployment run`, a real server, a real worker."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling

from advkd.evaluation.curve import curve_of
from advkd.registry.versions import open_registry
from advkd.runtime.counters import StageCounters
from advkd.teachers import load_teacher
from flows.distill import distill
from flows.serving.automations import AUTOMATIONS
from flows.serving.deploying import deploy
from storage import open_store
from storage.records.commits import committed_shards, read_commit
from tests.flows.deployed_home import deploying_to
from tests.flows.machine import CHECKOUT, processes_below
from tests.flows.processes.test_child import wait_until
from tests.flows.processes.test_logs import lines_of

TINY = [
    "teacher=mixture",
    'precompute={"samples": 256, "shard_samples": 128}',
    'train={"samples": 512, "student": {"width": 16, "blocks": 1}, "rise_samples": 64}',
    "samples=64",
]

COUNTERS = {field.name for field in fields(StageCounters)}


def commits(summary, root):
    uri = str(root / summary["store"])
    return {shard: read_commit(uri, shard).created for shard in committed_shards(uri)}


@pytest.mark.timeout(600)
def test_quick_completes_and_a_second_run_recomputes_nothing(machine, api, tmp_path, monkeypatch):
    first = machine.run_deployment("distill/quick", [*TINY, f"root={tmp_path}"])
    assert first.returncode == 0, first.stdout + machine.worker_log.read_text()
    assert "Completed" in first.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["shards"] == {"computed": 2, "reused": 0}
    assert summary["trained"]
    assert (tmp_path / summary["report"]).is_file()
    assert (tmp_path / summary["artifact"] / "model_index.json").is_file()
    assert (tmp_path / summary["artifact"] / "onnx" / "model.onnx").is_file()
    assert any("ONNX Runtime fp32" in line for line in summary["onnx"]["cost"])
    # Whatever wrote them: others of this machine may read what is published, as the umask says.
    assert [path for path in tmp_path.rglob("*") if not path.is_symlink() and not path.stat().st_mode & 0o004] == []
    before = commits(summary, tmp_path)
    counted = check_counters(summary, tmp_path)

    # The same flow with the same parameters, in a process that has imported everything.
    monkeypatch.setenv("ADVKD_CACHE", machine.environment["ADVKD_CACHE"])
    distill(preset="quick", root=str(tmp_path), **parsed(TINY))
    again = json.loads((tmp_path / "summary.json").read_text())
    assert again["shards"] == {"computed": 0, "reused": 2}
    assert not again["trained"]
    assert commits(again, tmp_path) == before
    assert again["model"] == summary["model"]
    # What was there is no work; what the version took to make stays noted with it.
    for counters in again["counters"].values():
        assert {name: value for name, value in counters.items() if value} == {"seconds": counters["seconds"]}
    assert metrics_of(summary["model"], tmp_path) == counted
    check_lines(machine, first)


def parsed(given):
    """What `--param NAME=VALUE` makes of each: JSON, or else text."""
    parameters = dict(word.split("=", 1) for word in given)
    return {name: json.loads(text) if text[0] in "{0123456789" else text for name, text in parameters.items()}


def check_counters(summary, root):
    """The counters against the store's own records, the reference's definition and the files; returns MLflow's."""
    uri, counters = str(root / summary["store"]), summary["counters"]
    steps = open_store(uri).manifest.spec.solver_steps
    stored = sum(one.size for shard in committed_shards(uri) for one in read_commit(uri, shard).objects)
    student, report, onnx, artifact = (
        sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
        for folder in (
            root / summary["student"],
            (root / summary["report"]).parent,
            root / summary["onnx"]["place"],
            root / summary["artifact"],
        )
    )
    curve = curve_of(load_teacher("mixture"))
    seconds = {stage: one.pop("seconds") for stage, one in json.loads(json.dumps(counters)).items()}
    expected = {
        "precompute": {"passes": 256 * steps, "samples": 256, "bytes_read": 0, "bytes_written": stored},
        "train": {"passes": 0, "samples": 512, "bytes_read": 2 * stored, "bytes_written": student},
        "evaluate": {
            # The first images are drawn once more, to be shown.
            "passes": 64 * (sum(solver.steps for solver in curve.solutions) + curve.target.steps) + 64 * steps,
            "samples": 64,
            "bytes_read": student,
            "bytes_written": report,
        },
        "export": {"passes": 0, "samples": 0, "bytes_read": student, "bytes_written": onnx},
        "register": {"passes": 0, "samples": 0, "bytes_read": student + report + onnx, "bytes_written": artifact},
    }
    assert counters == {stage: {**one, "seconds": seconds[stage]} for stage, one in expected.items()}
    assert all(value > 0 for value in seconds.values())
    noted = metrics_of(summary["model"], root)
    assert noted == {f"{stage}.{name}": value for stage, one in counters.items() for name, value in one.items()}
    return noted


def metrics_of(model, root):
    client = open_registry(str(root))
    metrics = client.get_run(client.get_model_version(model["name"], model["version"]).run_id).data.metrics
    return {name: value for name, value in metrics.items() if name.partition(".")[2] in COUNTERS}


def check_lines(machine, run):
    """Every line of the log says whose it is, those of a run's stages and child processes included."""
    run_id = re.search(r"UUID: (\S+)", run.stdout).group(1)
    ours = [line for line in lines_of(Path(machine.environment["ADVKD_LOG"]).read_text()) if line["run_id"] == run_id]
    assert {line["stage"] for line in ours} == {"distill", "precompute", "train", "evaluate", "export", "register"}
    assert len({line["digest"] for line in ours}) == 1


def test_unknown_parameters_are_refused_before_a_run_is_created(machine):
    refused = machine.prefect("deployment", "run", "distill/quick", "--param", "precision=1")
    assert refused.returncode != 0
    assert "precision" in refused.stdout
    assert "Created flow run" not in refused.stdout


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"train": {"students": 3}}, "students"),
        ({"precompute": {"sampels": 3}}, "sampels"),
        ({"precompute": {"solver": {"step": 3}}}, "step"),
        ({"preset": "fast"}, "fast"),
    ],
)
def test_the_server_refuses_parameters_that_the_flow_would(api, parameters, message):
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("distill/quick")
        with pytest.raises(PrefectHTTPStatusError) as refused:
            client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    assert message in refused.value.response.text


@pytest.mark.slow
def test_deploying_again_changes_nothing_but_removes_what_is_no_longer_there(machine, api, capfd):
    with get_client(sync_client=True) as client:
        client.create_automation(AUTOMATIONS[0].model_copy(update={"name": "advkd: of an earlier revision"}))
        before = {one.id for one in client.read_deployments()}
    # The machine has its deployments already.
    with deploying_to(machine.environment["PREFECT_API_URL"], Path(machine.environment["PREFECT_HOME"])):
        code, said = deploy(), "".join(capfd.readouterr())
    assert code == 0, said
    assert not re.search(r"work pool '\w+' created", said)
    assert re.findall("automation '.*", said) == ["automation 'advkd: of an earlier revision' removed"]
    with get_client(sync_client=True) as client:
        for wanted in AUTOMATIONS:
            assert len(client.read_automations_by_name(wanted.name)) == 1
        assert {one.id for one in client.read_deployments()} == before


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "got no PREFECT_API_URL"),
        ("http://127.0.0.1:9/api", "answers, but http://127.0.0.1:9/api does not"),
    ],
)
def test_deploying_without_a_server_says_how_to_start_one(capsys, url, message):
    with temporary_settings(updates={PREFECT_API_URL: url or None, PREFECT_CLIENT_MAX_RETRIES: 0}):
        assert deploy() == 2
    said = capsys.readouterr().err
    assert message in said
    assert "prefect server start" in said


def test_git_holds_no_path_of_this_machine():
    assert str(CHECKOUT) not in (CHECKOUT / "prefect.yaml").read_text()


@pytest.mark.slow
def test_a_cancelled_run_ends_its_training_process(machine, api, tmp_path):
    endless = {"samples": 10_000_000, "student": {"width": 16, "blocks": 1}}
    given = parsed(TINY[:2]) | {"train": endless, "root": str(tmp_path)}
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(
            client.read_deployment_by_name("distill/quick").id, parameters=given
        )
        assert wait_until(lambda: processes_below("advkd train"), 240), machine.worker_log.read_text()
        # As `prefect flow-run cancel`.
        client.set_flow_run_state(run.id, Cancelling())
    assert wait_until(lambda: not processes_below("advkd train"))
    assert wait_until(lambda: "Finished in state Cancelled" in machine.worker_log.read_text()), (
        machine.worker_log.read_text()
    )
