"""A long training says on Prefect's page how far it is, without a line for every step."""

from flows.processes import milestones
from flows.processes.milestones import Milestones


def test_a_line_for_each_tenth():
    shown, logged = [], []
    report = Milestones(lambda *update: shown.append(update), logged.append)
    for done in range(0, 2001, 50):
        report("training", done, 2000, "phase rise")
    assert len(shown) == 41
    assert len(logged) == 10
    assert logged[2] == "training: 30 %, 600 of 2,000 samples, phase rise"
    assert logged[-1].startswith("training: 100 %, 2,000 of 2,000 samples")


def test_a_slow_one_says_something_every_ten_minutes(monkeypatch):
    clock, logged = [0.0], []
    monkeypatch.setattr(milestones.time, "monotonic", lambda: clock[0])
    report = Milestones(lambda *update: None, logged.append)
    for second in range(0, 3600, 60):
        clock[0] = second
        report("training", second, 1_000_000)
    assert len(logged) == 5
    assert logged[0] == "training: 0 %, 660 of 1,000,000 samples"
