"""Which events tell of a model: one when it is registered, one more when it became champion, none when it was there."""

from dataclasses import replace

import pytest

from advkd.registry import RegisteredModel
from flows.processes import events as module

MODEL = RegisteredModel(
    name="advkd-digits",
    version=3,
    alias="champion",
    uri="runs/models/digits",
    run_id="0",
    created=True,
    decided=True,
    reason="there was no champion",
)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (MODEL, ["advkd.model.registered", "advkd.model.promoted"]),
        (replace(MODEL, alias="challenger"), ["advkd.model.registered"]),
        (replace(MODEL, decided=False), []),
    ],
)
def test_a_model_is_told_of(model: RegisteredModel, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    emitted = []
    monkeypatch.setattr(
        module, "emit_event", lambda event, resource, payload: emitted.append((event, resource, payload))
    )
    module.tell_of_model(model)
    assert [event for event, _, _ in emitted] == told
    for _, resource, payload in emitted:
        assert resource["prefect.resource.id"] == "advkd.model.advkd-digits.3"
        assert payload["alias"] == model.alias
