"""Answers that no real server gives on demand: whole HTTP responses that hold half an answer, or too much."""

import pytest

from storage.errors import StoreError, StoreUnreachableError
from storage.objects import PATIENCE
from storage.objects import s3 as s3_objects
from storage.objects.access import join, list_prefix, read_bytes, read_range
from tests.storage.objects.scripted_server import Answer, error_answer, scripted_server

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("s3_root")]

_LISTING = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p/</Prefix><KeyCount>2</KeyCount>
<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
<Contents><Key>p/1</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>
<Contents><Key>p/2</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>
</ListBucketResult>"""


def test_a_server_that_is_away_is_waited_for_as_long_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, times = error_answer(503, "SlowDown"), 2 * s3_objects.MAX_ATTEMPTS
    monkeypatch.setenv(PATIENCE, "600")
    with scripted_server([*[busy] * times, Answer(200, b"there")]) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert read_bytes("s3://b/p") == b"there"
    assert len(requests) == times + 1
    monkeypatch.setenv(PATIENCE, "0")
    with scripted_server([busy] * times) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(StoreUnreachableError):
            read_bytes("s3://b/p")
    assert len(requests) == s3_objects.MAX_ATTEMPTS


@pytest.mark.parametrize("said", ["a minute", "-1", "nan", "inf", ""])
def test_patience_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(PATIENCE, said)
    with pytest.raises(ValueError, match=r"ADVKD_S3_PATIENCE must be a number of seconds, got .*; set it to 60"):
        read_bytes("s3://b/p")


@pytest.mark.parametrize("kept", [1, 50, 300, len(_LISTING) - 1])
@pytest.mark.parametrize("claimed", [None, len(_LISTING)], ids=["well framed", "short of its length"])
def test_half_a_listing_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, kept: int, claimed: int | None) -> None:
    half = Answer(200, _LISTING[:kept], claimed)
    with scripted_server([half, half, Answer(200, _LISTING)]) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert list_prefix("s3://b/p") == ["1", "2"]
    assert len(requests) == 3


@pytest.mark.parametrize("kept", [0, 1, 999])
def test_half_an_object_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    data = bytes(range(250)) * 4
    with scripted_server([Answer(200, data[:kept], 1000), Answer(200, data)]) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert read_bytes("s3://b/p") == data
    assert len(requests) == 2


def test_folders_of_consoles_are_no_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = _LISTING.replace(b"p/1<", b"p/<").replace(b"p/2<", b"p/folder/<")
    with scripted_server([Answer(200, listing)]) as (endpoint, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert list_prefix("s3://b/p") == []


def test_a_server_that_knows_no_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server([Answer(200, b"0123456789")]) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert read_range("s3://b/p", 3, 6) == b"345"
        assert read_range("s3://b/p", 0, 10) == b"0123456789"
    assert len(requests) == 2


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests")])
def test_a_busy_server_is_asked_again(monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> None:
    with scripted_server([error_answer(status, code)] * 3 + [Answer(200, b"data")]) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert read_bytes("s3://b/p") == b"data"
    assert len(requests) == 4
    with scripted_server([error_answer(status, code)]) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(StoreUnreachableError, match=code):
            read_bytes(join("s3://b", "p"))
    assert len(requests) == s3_objects.MAX_ATTEMPTS


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidRequest"), (507, "QuotaExceeded")])
def test_an_answer_that_stays_the_same_is_final(monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> None:
    with scripted_server([error_answer(status, code)]) as (endpoint, requests):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(StoreError, match=code):
            read_bytes("s3://b/p")
    assert len(requests) == 1
