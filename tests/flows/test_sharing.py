"""Two runs of one spec at the same time: the work is done once, whoever is killed; other specs finish beside them."""

import contextvars
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate

from advkd.teachers import SolverSpec
from advkd.trajectories import PrecomputeSpec
from advkd.trajectories import filling as library
from flows.precompute import precompute
from storage import exists
from storage.records.spec import store_uri
from storage.writing.claims import claim_uri
from tests.flows.machine import CHECKOUT
from tests.flows.processes.test_child import wait_until
from tests.flows.processes.test_logs import lines_of

HOLDING = """
import sys, time
from storage.writing import CLAIMS
assert CLAIMS.take(sys.argv[1]) is None
print("held", flush=True)
time.sleep(600)
"""


def spec_in(root):
    sizes = {"samples": 128, "shard_samples": 16, "block_samples": 16, "captures": 2}
    return PrecomputeSpec(teacher="mixture", store=str(root), solver=SolverSpec(steps=4), **sizes)


def python(code, argument):
    return subprocess.Popen(
        [sys.executable, "-c", code, argument], cwd=CHECKOUT, env=os.environ, stdout=subprocess.PIPE, text=True
    )


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_distillations_of_one_spec_do_the_work_once_and_another_finishes_beside_them(machine, api, tmp_path):
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("distill/quick").id

        def start(seed, root):
            train = {"samples": 512, "student": {"width": 16, "blocks": 1}, "rise_samples": 64, "seed": seed}
            small = {"precompute": {"samples": 512, "shard_samples": 128, "seed": seed}, "samples": 64, "train": train}
            parameters = {"teacher": "mixture", "root": str(root), **small}
            return client.create_flow_run_from_deployment(deployment, parameters=parameters).id

        limit = client.read_work_pool("cpu").concurrency_limit
        client.update_work_pool("cpu", WorkPoolUpdate(concurrency_limit=3))
        try:
            runs = [start(0, tmp_path / "one"), start(0, tmp_path / "one"), start(1, tmp_path / "other")]
            assert wait_until(lambda: all(client.read_flow_run(run).state.is_final() for run in runs), 500)
        finally:
            client.update_work_pool("cpu", WorkPoolUpdate(concurrency_limit=limit))
        found = [client.read_flow_run(run) for run in runs]
    assert all(run.state.is_completed() for run in found)
    # All at the same time.
    assert max(run.start_time for run in found) < min(run.end_time for run in found)
    lines = lines_of(Path(machine.environment["ADVKD_LOG"]).read_text())

    def said(runs, pattern):
        of_runs = [line["message"] for line in lines if line["run_id"] in {str(run) for run in runs}]
        return [found for message in of_runs if (found := re.match(pattern, message))]

    for of_spec in (runs[:2], runs[2:]):
        assert sum(int(found[1]) for found in said(of_spec, r"store sealed: .*, (\d+) computed")) == 4
        assert len(said(of_spec, r"student trained on")) == 1
        assert len(said(of_spec, r"registered: ")) == 1


def test_a_flow_waits_for_another_run_s_shard_and_takes_it_over_when_that_is_killed(api, tmp_path, caplog):
    spec = spec_in(tmp_path)
    uri = store_uri(spec.store, library.what_is_missing(spec)[0])
    claim = claim_uri(uri, 5)
    holder = python(HOLDING, claim)
    try:
        assert holder.stdout.readline() == "held\n"
        with ThreadPoolExecutor(1) as pool:
            # In this thread's context: settings hold in it, without which the flow would start a server of its own.
            running = pool.submit(contextvars.copy_context().run, precompute, spec)
            assert wait_until(lambda: "1 shards are being computed by" in caplog.text, 240)
            assert library.what_is_missing(spec)[1] == [5]
            assert not running.done()
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            result = running.result(240)
    finally:
        end(holder)
    assert result.computed == result.shards == 8
    assert not exists(claim)


def test_a_shard_that_fails_leaves_no_claim(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("rule, fact, remedy")

    spec = spec_in(tmp_path)
    monkeypatch.setattr(library.Filling, "compute", fail)
    with pytest.raises(OSError, match="rule, fact, remedy"):
        library.share_shard(spec, 0)
    assert library.shard_holder(spec, 0) is None
