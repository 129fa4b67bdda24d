"""What others may react to, as Prefect events. Resource ids are names and fingerprints, payloads small facts.

Imports no torch at the top: servers that run for days use this room.
"""

from typing import TYPE_CHECKING, Any

from prefect.events import emit_event

if TYPE_CHECKING:
    from advkd.discovery import PlaceState
    from advkd.registry import RegisteredModel

REGISTERED = "advkd.teacher.registered"
"""Emitted by whoever has uploaded a teacher, with its place as resource id; `watch-teachers` looks at once."""
DISCOVERED = "advkd.teacher.discovered"
REFUSED = "advkd.teacher.refused"
STARTED = "advkd.distillation.started"
MODEL_REGISTERED = "advkd.model.registered"
MODEL_PROMOTED = "advkd.model.promoted"


def tell_of_teacher(event: str, finding: "PlaceState", **facts: Any) -> None:
    """`DISCOVERED`, `REFUSED` or `STARTED`, about the teacher at a place."""
    from advkd.teachers import teacher_name

    resource = {"prefect.resource.id": finding.place, "prefect.resource.name": teacher_name(finding.place)}
    payload = {"fingerprint": finding.fingerprint, "reason": finding.reason} | facts
    emit_event(event, resource, payload={key: value for key, value in payload.items() if value})


def tell_of_model(model: "RegisteredModel") -> None:
    """`MODEL_REGISTERED`, and `MODEL_PROMOTED` where it became the champion; nothing where that was done already."""
    if not model.decided:
        return
    resource = {
        "prefect.resource.id": f"advkd.model.{model.name}.{model.version}",
        "prefect.resource.name": f"{model.name} version {model.version}",
    }
    payload = {"model": model.name, "version": model.version, "alias": model.alias, "reason": model.reason}
    for event in (MODEL_REGISTERED, *([MODEL_PROMOTED] if model.alias == "champion" else [])):
        emit_event(event, resource, payload=payload)
