"""Prefect events to which others may react. Resource ids are names and fingerprints; payloads are small facts.

Imports no torch at the top: servers that run for days use this room.
"""

from typing import TYPE_CHECKING, Any

from prefect.events import emit_event

if TYPE_CHECKING:
    from advkd.discovery import PlaceState
    from advkd.registry import RegisteredModel

REGISTERED = "advkd.teacher.registered"
"""Event of an uploader, with the teacher's place as resource id; `watch-teachers` then looks at once."""
DISCOVERED = "advkd.teacher.discovered"
REFUSED = "advkd.teacher.refused"
STARTED = "advkd.distillation.started"
MODEL_REGISTERED = "advkd.model.registered"
MODEL_PROMOTED = "advkd.model.promoted"


def tell_of_teacher(event: str, finding: "PlaceState", **facts: Any) -> None:
    """Emits `DISCOVERED`, `REFUSED` or `STARTED` about the teacher at a place."""
    from advkd.teachers import teacher_name

    resource = {"prefect.resource.id": finding.place, "prefect.resource.name": teacher_name(finding.place)}
    payload = {"fingerprint": finding.fingerprint, "reason": finding.reason} | facts
    emit_event(event, resource, payload={key: value for key, value in payload.items() if value})


def tell_of_model(model: "RegisteredModel") -> None:
    """Emits `MODEL_REGISTERED`, and `MODEL_PROMOTED` if the model became champion; none if it was registered before."""
    if not model.decided:
        return
    resource = {
        "prefect.resource.id": f"advkd.model.{model.name}.{model.version}",
        "prefect.resource.name": f"{model.name} version {model.version}",
    }
    payload = {"model": model.name, "version": model.version, "alias": model.alias, "reason": model.reason}
    for event in (MODEL_REGISTERED, *([MODEL_PROMOTED] if model.alias == "champion" else [])):
        emit_event(event, resource, payload=payload)
