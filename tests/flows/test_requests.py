"""What is asked of Prefect for a teacher: settings that are refused, identity, and what becomes of runs that fail."""

from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Completed, Crashed, Failed, Running

from flows import requests as orders
from flows.requests import DistillationRequest, RequestSpec, deployed, place
from flows.serving.automations import AUTOMATIONS

FINGERPRINT = "0" * 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"deployment": "precompute/store"}, r"is named distill/<name>, got 'precompute/store'"),
        ({"attempts": 0}, "attempts must be positive, got 0; use 3"),
        ({"parameters": {"teacher": "digits"}}, "leave the teacher to the watcher, got 'digits'; name it among"),
        (
            {"parameters": {"presets": "quick"}},
            r"must be those of distill, got .*presets.*; see `python -m flows.distill",
        ),
        ({"parameters": {"samples": "many"}}, r"must be those of distill, got .*samples: Input should be a valid int"),
        ({"parameters": {"train": {"students": 3}}}, r"train.layerwise.students: Unexpected keyword argument"),
    ],
)
def test_orders_that_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        RequestSpec(**({"parameters": {}} | settings))


def test_an_order_is_the_teacher_and_what_is_asked_for():
    def digest(fingerprint=FINGERPRINT, **settings):
        return DistillationRequest(RequestSpec(**({"parameters": {"preset": "quick"}} | settings)), fingerprint).digest

    assert digest() == digest(attempts=5)
    others = digest("1" * 64), digest(parameters={"preset": "full"}), digest(deployment="distill/quick")
    assert len({digest(), *others}) == 4


@pytest.fixture
def nobody_works_on_it(machine, api):
    """A client, and a deployment of distill that no worker takes runs from."""
    with get_client(sync_client=True) as client:
        model = deployed(client, RequestSpec(deployment="distill/quick", parameters={}))
        copy = client.create_deployment(
            model.flow_id,
            name="idle",
            entrypoint=model.entrypoint,
            parameter_openapi_schema=model.parameter_openapi_schema,
        )
        # The server would begin a crashed run again, sooner or later than the test asks.
        reviving = [found for one in AUTOMATIONS for found in client.read_automations_by_name(one.name)]
        for one in reviving:
            client.pause_automation(one.id)
        yield client, client.read_deployment(copy)
        for one in reviving:
            client.resume_automation(one.id)
        client.delete_deployment(copy)


def test_one_run_per_teacher_and_a_few_more_where_it_fails(nobody_works_on_it, monkeypatch):
    client, idle = nobody_works_on_it
    fingerprint = uuid4().hex * 2
    order = DistillationRequest(RequestSpec(deployment="distill/idle", parameters={"samples": 16}), fingerprint)

    def ask(dry=False, teacher="mixture"):
        return place(client, idle, order, teacher, dry=dry)

    def ends(placed, state):
        client.set_flow_run_state(placed.run_id, state, force=True)

    assert ask(dry=True).state == "new"
    first = ask()
    assert (first.state, first.attempt) == ("started", 1)
    again = ask(teacher="the same teacher elsewhere")
    assert (again.state, again.run_id) == ("running", first.run_id)
    ends(first, Running())
    assert ask().state == "running"
    ends(first, Failed())
    second = ask()
    assert (second.state, second.attempt) == ("started", 2)
    assert second.run_id != first.run_id
    ends(second, Crashed())
    # A server begins it again, usually.
    assert (ask().state, ask().run_id) == ("running", second.run_id)
    monkeypatch.setattr(orders, "_SETTLED_SECONDS", 0.0)
    third = ask()
    assert third.attempt == 3
    ends(third, Failed())
    assert (ask().state, ask().run_id) == ("failed", third.run_id)
    ends(third, Cancelled())
    assert ask().state == "cancelled"
    ends(third, Completed())
    assert ask().state == "done"


def test_without_a_server_only_a_dry_run_is_possible(monkeypatch, tmp_path, capsys):
    from flows.command import main
    from flows.watch import _check, watch_teachers

    monkeypatch.chdir(tmp_path)
    assert not PREFECT_API_URL.value()
    with pytest.raises(SystemExit) as ended:
        main(watch_teachers, argv=["--sources", "teachers"], check=_check)
    assert ended.value.code == 2
    assert "got no PREFECT_API_URL; set it, or ask with --dry-run" in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
