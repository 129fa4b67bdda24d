"""A flow ends when it has ended: it does not wait for the thread of its heartbeats."""

import time

import prefect.flow_engine
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.processes import heartbeats, stage


def test_flows_end_at_once_and_still_send_heartbeats(api, monkeypatch):
    sent = []
    emit = prefect.flow_engine.BaseFlowRunEngine._emit_flow_run_heartbeat
    monkeypatch.setattr(
        prefect.flow_engine.BaseFlowRunEngine,
        "_emit_flow_run_heartbeat",
        lambda engine, *more: sent.append(engine.flow_run.name) or emit(engine, *more),
    )

    @stage("quick-one")
    def quick():
        return time.monotonic()

    with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}):
        quick()
        ends = []
        for _ in range(3):
            ended = quick()
            ends.append(time.monotonic() - ended)
    assert len(sent) == 4
    # The thread sleeps for a second at a time; what else is to do at the end is a request.
    assert min(ends) < 0.4


def test_a_prefect_without_the_option_stays_as_it_is(monkeypatch):
    def beats(engine):
        raise AssertionError

    monkeypatch.setattr(prefect.flow_engine, "_send_heartbeats", beats)
    assert heartbeats.end_without_waiting() is False
    assert prefect.flow_engine._send_heartbeats is beats
    monkeypatch.delattr(prefect.flow_engine, "_send_heartbeats")
    assert heartbeats.end_without_waiting() is False
