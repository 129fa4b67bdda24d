"""Claims: one of several gets the work, a dead or silent holder loses it, and nobody gives back what is another's."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from storage import delete, exists, join, list_prefix, read_bytes, write_bytes
from storage.objects.access import create_bytes
from storage.writing import claims as module
from storage.writing.claims import Claim, Claims

pytestmark = pytest.mark.timeout(60)

HOLDER = """
import sys, time
from storage.writing import CLAIMS
assert CLAIMS.take(sys.argv[1]) is None
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def uri(root: str) -> str:
    return join(root, "claims", "000003.json")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.6)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.1)


def of_another_machine(claim: bytes) -> bytes:
    return replace(Claim(**json.loads(claim)), machine="another").to_bytes()


def test_one_of_two_gets_the_work_and_the_next_after_it(uri: str) -> None:
    first, second = Claims(), Claims()
    assert first.take(uri) is None
    other = second.take(uri)
    assert other is not None
    assert f"process {other.process}" in other.holder
    second.release(uri)
    assert exists(uri)
    first.release(uri)
    assert not exists(uri)
    assert second.take(uri) is None
    second.release(uri)


def test_of_many_at_once_exactly_one_creates_an_object_on_disk(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        for number in range(20):
            uri, gate = str(tmp_path / f"{number}.json"), threading.Barrier(16)

            def create(own: int, uri: str = uri, gate: threading.Barrier = gate) -> bool:
                gate.wait()
                return create_bytes(uri, b"%d" % own)

            created = list(pool.map(create, range(16)))
            assert sum(created) == 1
            assert read_bytes(uri) == b"%d" % created.index(True)
    assert not list(tmp_path.glob(".*"))


def test_of_two_turns_that_a_server_without_conditions_gives_at_once_one_begins(
    s3_root: str, fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, both, inside = join(s3_root, "run.claim"), threading.Barrier(2), list[int]()

    def create(uri: str, data: bytes) -> bool:
        if exists(uri):
            return False
        with suppress(threading.BrokenBarrierError):
            both.wait(5)
        write_bytes(uri, data)
        return True

    monkeypatch.setattr(module, "create_bytes", create)

    def work(number: int) -> None:
        with Claims().turn(uri, str, "it"):
            inside.append(number)
            time.sleep(1.0)
            assert inside[-1] == number
            both.abort()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert sorted(inside) == [0, 1]
    assert not exists(uri)


def test_a_killed_holder_of_this_machine_is_known_at_once(uri: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, uri], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            mine = Claims()
            assert mine.take(uri) is not None
        finally:
            process.kill()
        # Not waited for yet: a zombie is gone too.
        began = time.monotonic()
        while mine.take(uri) is not None:
            assert time.monotonic() - began < 5
        mine.release(uri)


@pytest.mark.thorough
def test_a_silent_holder_elsewhere_loses_it_and_a_renewing_one_does_not(uri: str, fast: None) -> None:
    holder, mine = Claims(), Claims()
    assert holder.take(uri) is None
    for _ in range(15):
        assert mine.take(uri) is not None
        time.sleep(0.1)
    claim = of_another_machine(read_bytes(uri))
    holder.release(uri)
    write_bytes(uri, claim)
    assert mine.take(uri) is not None
    time.sleep(0.8)
    assert mine.take(uri) is None
    mine.release(uri)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_the_wall_clocks_of_holder_and_reader_do_not_count(
    minutes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "claim.json")
    elsewhere = replace(module._own_claim(), machine="another")
    write_bytes(uri, elsewhere.to_bytes())
    wall = time.time() + 60 * minutes
    os.utime(uri, (wall, wall))
    monkeypatch.setattr(time, "time", lambda: wall)
    reader, now = Claims(), time.monotonic()
    assert reader.holder(uri) == elsewhere
    monkeypatch.setattr(time, "monotonic", lambda: now + module.SILENCE_SECONDS - 1)
    assert reader.holder(uri) == elsewhere
    monkeypatch.setattr(time, "monotonic", lambda: now + module.SILENCE_SECONDS + 1)
    assert reader.holder(uri) is None


def test_of_many_that_find_a_void_claim_one_has_it(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens between a thread's lines: it stops for as long as it likes before it removes anything."""
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.0)
    pauses = iter((0.0, 0.3, 0.1, 0.2) * 100)

    def slow_delete(uri: str) -> None:
        time.sleep(next(pauses))
        delete(uri)

    monkeypatch.setattr(module, "delete", slow_delete)
    write_bytes(uri, b"torn")
    gate, several = threading.Barrier(8), [Claims() for _ in range(8)]

    def take(claims: Claims) -> bool:
        gate.wait()
        return claims.take(uri) is None

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, several))
    assert sum(taken) == 1
    several[taken.index(True)].release(uri)
    assert list_prefix(uri.rpartition("/")[0]) == []


def test_a_run_that_dies_while_it_replaces_a_void_claim_is_replaced_itself(uri: str, fast: None) -> None:
    write_bytes(uri, b"torn")
    turn = f"{uri}.{hashlib.sha256(b'torn').hexdigest()[:16]}"
    write_bytes(turn, of_another_machine(replace(module._own_claim(), token="gone").to_bytes()))
    mine, began = Claims(), time.monotonic()
    while mine.take(uri) is not None:
        assert time.monotonic() - began < 30
        time.sleep(0.05)
    mine.release(uri)
    assert list_prefix(uri.rpartition("/")[0]) == []


def test_a_claim_given_back_while_it_is_renewed_ends_no_other(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that is on its way when its claim is given back must not touch the next holder's."""
    holder, mine = Claims(), Claims()
    assert holder.take(uri) is None
    renewing, write = threading.Event(), module.write_bytes

    def slowly(uri: str, data: bytes) -> None:
        renewing.set()
        time.sleep(0.5)
        write(uri, data)

    monkeypatch.setattr(module, "write_bytes", slowly)
    with ThreadPoolExecutor(1) as pool:
        renewal = pool.submit(holder._renew_one, uri)
        assert renewing.wait(10)
        holder.release(uri)
        assert mine.take(uri) is None
        renewal.result()
    assert json.loads(read_bytes(uri))["token"] == mine._held[uri].token
    mine.release(uri)


def test_a_holder_that_was_taken_over_neither_renews_nor_gives_back(uri: str, fast: None) -> None:
    holder, mine = Claims(), Claims()
    assert holder.take(uri) is None
    delete(uri)
    assert mine.take(uri) is None
    time.sleep(0.5)
    holder.release(uri)
    assert json.loads(read_bytes(uri))["token"] == mine._held[uri].token
    mine.release(uri)


def test_a_turn_waits_says_for_whom_and_gives_back_after_an_error(uri: str, fast: None) -> None:
    holder, mine, said = Claims(), Claims(), list[str]()
    assert holder.take(uri) is None
    threading.Timer(0.5, holder.release, [uri]).start()
    with pytest.raises(RuntimeError, match="inside"), mine.turn(uri, said.append, "the student"):
        raise RuntimeError("inside")
    (line,) = said
    assert "is at work on the student: waiting" in line
    assert not exists(uri)


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"token": 1}'])
def test_what_is_no_claim_is_taken_over(uri: str, junk: bytes) -> None:
    write_bytes(uri, junk)
    mine = Claims()
    assert mine.take(uri) is None
    mine.release(uri)
