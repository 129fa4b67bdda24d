"""Records that check themselves: plain JSON to others, and no byte of them can change unseen."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import ManifestError
from storage.records.checked_json import DamagedRecordError, dump_checked, load_checked, load_strict

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.text().filter(lambda key: key != "sha256"), VALUES, min_size=1, max_size=4)


@pytest.mark.thorough
@settings(deadline=None)
@given(record=RECORDS, indent=st.sampled_from([None, 2]))
def test_a_record_comes_back_and_is_plain_json(record: dict[str, object], indent: int | None) -> None:
    data = dump_checked(record, indent=indent)
    assert load_checked(data) == record
    plain = json.loads(data)
    assert list(plain)[-1] == "sha256"
    assert {key: value for key, value in plain.items() if key != "sha256"} == record
    assert dump_checked(load_checked(data), indent=indent) == data


@pytest.mark.thorough
@settings(deadline=None, max_examples=300)
@given(record=RECORDS, data=st.data())
def test_any_changed_byte_is_seen(record: dict[str, object], data: st.DataObject) -> None:
    good = dump_checked(record)
    start, stop = sorted(data.draw(st.lists(st.integers(0, len(good)), min_size=2, max_size=2)))
    bad = good[:start] + data.draw(st.binary(max_size=8)) + good[stop:]
    if bad == good:
        assert load_checked(bad) == record
        return
    with pytest.raises(DamagedRecordError, match=r"must end .* do not; .*repair"):
        load_checked(bad)


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\xff" * 200, b'{"a": 1}\n', b" " * 83, b"\0" * 10_000])
def test_what_was_never_a_record_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedRecordError):
        load_checked(data)


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', r"\['c'\] more than once"),
        (b"[" * 200_000, "nested deeper"),
        (b'{"a":' * 200_000, "nested deeper"),
        (b"\xff\xfe{\0}\0", "UTF-8"),
        (b"\xef\xbb\xbf{}", "UTF-8"),
        (b"{'a': 1}", "Expecting"),
        (b'{"a": ' + b"9" * 5000 + b"}", "integer string"),
        (b"", "Expecting"),
    ],
)
def test_json_that_reads_in_two_ways_or_in_none_is_refused(data: bytes, fact: str) -> None:
    with pytest.raises(ManifestError, match=fact):
        load_strict(data)


@pytest.mark.parametrize("record", [{}, {"sha256": "a"}, {"a": float("nan")}, {"a": float("inf")}])
def test_a_record_that_could_not_be_read_back_is_not_written(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must have keys|JSON compliant"):
        dump_checked(record)
