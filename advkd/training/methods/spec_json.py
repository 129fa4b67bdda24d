"""Training specs as JSON: what `--spec` reads."""

from dataclasses import fields
from typing import Any, TypeVar

from advkd.discriminators import DiscriminatorSpec
from advkd.students import StudentSpec
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.paper_spec import PaperSpec
from advkd.training.run_spec import RunSpec

_Part = TypeVar("_Part")
_SPECS: dict[str, tuple[type[RunSpec], dict[str, type]]] = {
    "layerwise": (TrainSpec, {"student": StudentSpec, "discriminator": DiscriminatorSpec}),
    "paper": (PaperSpec, {}),
}


def train_spec_from_json(data: object) -> RunSpec:
    """The spec whose `dataclasses.asdict` went through JSON; fields left out keep their defaults.

    `method` says which dataclass it is, "layerwise" where it is left out.

    Raises:
        ValueError: an unknown method, unknown keys, or values that break a rule.
    """
    method = data.get("method", "layerwise") if isinstance(data, dict) else "layerwise"
    if method not in _SPECS:
        raise ValueError(f"a training spec's method must be one of {sorted(_SPECS)}, got {method!r}; choose one")
    kind, parts = _SPECS[method]
    found = _known(kind.__name__, kind, data)
    for name, part in parts.items():
        if name in found:
            found[name] = _built(part, _known(f"{kind.__name__}.{name}", part, found[name]))
    for name in ("submodule_weights", "timesteps"):
        if isinstance(found.get(name), list):
            found[name] = tuple(found[name])
    return _built(kind, found)


def _built(part: type[_Part], values: dict[str, Any]) -> _Part:
    try:
        return part(**values)
    except TypeError as error:
        raise ValueError(f"{part.__name__} must have values of its fields' types, got {values} ({error})") from error


def _known(owner: str, part: type, data: object) -> dict[str, Any]:
    names = {one.name for one in fields(part)}
    if not isinstance(data, dict) or not data.keys() <= names:
        unknown = sorted(data.keys() - names) if isinstance(data, dict) else data
        raise ValueError(f"{owner} must be an object with keys among {sorted(names)}, got {unknown!r}; correct them")
    return dict(data)
