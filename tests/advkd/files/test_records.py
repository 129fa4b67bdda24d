import json
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest

from advkd.discovery.seen import Record
from advkd.evaluation.reference import TeacherPoint
from advkd.evaluation.results import EvalReport
from advkd.files.records import record_from_json
from advkd.registry.gate import Figures
from advkd.training.observation import Observation


@dataclass(frozen=True)
class Inner:
    share: float
    note: str | None


@dataclass(frozen=True)
class Outer:
    count: int
    parts: tuple[Inner, ...]
    by_batch: dict[int, float]
    clamped: bool
    free: dict[str, Any]

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("Outer.count must not be negative")


WHOLE = Outer(3, (Inner(0.5, None), Inner(2.0, "x")), {1: 2.5, 64: 3.0}, True, {"a": [1, None]})


def changed(path: str, value: Any) -> str:
    record = json.loads(json.dumps(asdict(WHOLE)))
    *way, last = path.split(".")
    inside: Any = record
    for part in way:
        inside = inside[int(part) if part.isdigit() else part]
    inside[last] = value
    return json.dumps(record)


def test_a_record_goes_through_json() -> None:
    text = json.dumps(asdict(WHOLE))
    found = record_from_json(Outer, text)
    assert found == WHOLE
    assert record_from_json(tuple[Outer, ...], f"[{text}, {text}]".encode()) == (WHOLE, WHOLE)


def test_an_integer_is_a_float_too() -> None:
    found = record_from_json(Outer, changed("parts.0.share", 2))
    assert type(found.parts[0].share) is float


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", "3"),
        ("count", 3.0),
        ("count", True),
        ("count", -1),
        ("count", None),
        ("clamped", 1),
        ("clamped", "true"),
        ("parts", {}),
        ("parts.1.share", "0.5"),
        ("parts.1.share", True),
        ("parts.1.share", None),
        ("parts.1.note", 5),
        ("parts.1.more", 5),
        ("by_batch.64", "3"),
        ("by_batch.many", 3.0),
        ("free", []),
        ("more", 1),
    ],
)
def test_another_value_is_refused_and_its_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"a record must hold .*; it was written by another version") as refused:
        record_from_json(Outer, changed(field, value))
    assert type(refused.value) is ValueError
    # What breaks a rule of the record itself names its field in that rule.
    assert f" at {field}" in str(refused.value) or (field, value) == ("count", -1)


@pytest.mark.parametrize("field", ["count", "parts", "by_batch", "clamped", "free", "share", "note"])
def test_a_missing_field_is_refused_and_named(field: str) -> None:
    record = json.loads(json.dumps(asdict(WHOLE)))
    (record if field in record else record["parts"][1]).pop(field)
    with pytest.raises(ValueError, match=rf" at (parts\.1\.)?{field} \(Field required\)"):
        record_from_json(Outer, json.dumps(record))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "5", '"text"'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a record must hold the fields of Outer, got .*; it was written by another"):
        record_from_json(Outer, text)


def records(kind: Any) -> Iterator[type]:
    if is_dataclass(kind) and isinstance(kind, type):
        yield kind
        for inner in get_type_hints(kind).values():
            yield from records(inner)
    for inner in get_args(kind):
        yield from records(inner)


@pytest.mark.parametrize("kind", [EvalReport, TeacherPoint, Observation, Record, Figures])
def test_no_field_of_a_record_has_a_default(kind: type) -> None:
    defaults = [
        f"{one.__name__}.{field.name}"
        for one in records(kind)
        for field in fields(one)
        if not (field.default is MISSING and field.default_factory is MISSING)
    ]
    assert defaults == []
