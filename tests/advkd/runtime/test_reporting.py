"""Progress: what a reader of stderr sees without a terminal, what a parent process reads, and sums over pieces."""

import pytest

from advkd.runtime import reporting as module
from advkd.runtime.reporting import Tally, Update, parse_line, progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_ten_seconds_with_percent_rate_and_time_left(clock):
    lines = []
    with progress(lines.append) as report:
        for second in range(0, 31):
            clock[0] = float(second)
            report("trajectories", 100 + 20 * second, 1000, "loss 0.1")
    assert lines == [
        "trajectories: 30%, 20/s, 0:35 left, loss 0.1",
        "trajectories: 50%, 20/s, 0:25 left, loss 0.1",
        "trajectories: 70%, 20/s, 0:15 left, loss 0.1",
    ]


def test_without_a_place_for_lines_they_go_to_stderr(clock, capsys):
    with progress() as report:
        report("training", 0, 10)
        clock[0] = 11.0
        report("training", 5, 10)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "training: 50%, 0.45/s, 0:11 left\n"


def test_a_child_speaks_json_that_its_parent_reads(clock, capsys, monkeypatch):
    monkeypatch.setenv("ADVKD_PROGRESS", "json")
    with progress() as report:
        report("training", 0, 10)
        clock[0] = 1.0
        report("training", 4, 10, "margin 1.5")
        report("training", 5, 10)
    (line,) = capsys.readouterr().err.splitlines()
    assert parse_line(line) == Update("training", 4, 10, "margin 1.5")


@pytest.mark.parametrize("line", ["", "error: no store", '{"a": 1}', '"advkd_progress"', '{"advkd_progress": [1]}'])
def test_other_lines_of_a_child_are_no_progress(line):
    assert parse_line(line) is None


def test_pieces_add_up():
    seen = []
    tally = Tally(lambda label, done, total, note="": seen.append((label, done, total)), "trajectories", 20)
    tally(3, 4, 10)
    tally(7, 5, 10)
    tally(3, 10, 10)
    assert seen == [("trajectories", 4, 20), ("trajectories", 9, 20), ("trajectories", 15, 20)]


def test_a_stopped_tally_stops_its_pieces():
    tally = Tally(lambda *_: None, "trajectories", 20)
    tally.stop()
    with pytest.raises(InterruptedError, match="run the same command again"):
        tally(0, 1, 10)
