"""Schedules that do not parse are refused before anything is deployed."""

import pytest

from flows.serving.declared import declaration
from flows.serving.schedules import check_schedules

GOOD = ['{cron: "*/5 * * * *", timezone: Europe/Berlin}', "{interval: 600}", '{rrule: "FREQ=DAILY"}']
BAD = [
    ('{cron: "every hour"}', 'Invalid cron string: "every hour"'),
    ('{cron: "0 25 * * *"}', "Invalid cron string"),
    ('{cron: "0 * * * *", timezone: Mars/Olympus}', "Mars/Olympus"),
    ("{interval: often}", "unsupported type"),
    ("{interval: -5}", "greater than 0"),
    ('{rrule: "SOMETIMES"}', "rrule"),
    ("{corn: 0}", "neither cron nor interval nor rrule"),
]


def file_with(schedule, folder):
    file = folder / "prefect.yaml"
    file.write_text(f"deployments:\n  - name: hourly\n    schedules:\n      - {schedule}\n  - name: full\n")
    return file


@pytest.mark.parametrize("schedule", GOOD)
def test_schedules_that_parse(schedule, tmp_path):
    check_schedules(file_with(schedule, tmp_path))


@pytest.mark.parametrize(("schedule", "fact"), BAD)
def test_schedules_that_do_not(schedule, fact, tmp_path):
    with pytest.raises(ValueError, match=r"a schedule must parse, got .* of deployment 'hourly'.*write cron") as caught:
        check_schedules(file_with(schedule, tmp_path))
    assert fact in str(caught.value)


def test_ours_parse():
    check_schedules(declaration())
