"""Checks the schedules of `prefect.yaml` before anything is deployed: one that does not parse would never run."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import ValidationError


def check_schedules(file: Path) -> None:
    """Parses every schedule of every deployment.

    Raises:
        ValueError: one does not parse; the message names the deployment.
    """
    for deployment in yaml.safe_load(file.read_text(encoding="utf-8")).get("deployments") or []:
        for schedule in deployment.get("schedules") or []:
            try:
                _parse(schedule)
            except (ValidationError, ValueError, TypeError) as error:
                fact = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
                raise ValueError(
                    f"a schedule must parse, got {schedule} of deployment {deployment.get('name')!r} in {file.name} "
                    f'({fact}); write cron: "0 * * * *" (minute, hour, day, month, weekday) or interval: 3600 (seconds)'
                ) from error


def _parse(schedule: dict[str, Any]) -> object:
    zone = {"timezone": schedule["timezone"]} if "timezone" in schedule else {}
    if "cron" in schedule:
        return CronSchedule(cron=schedule["cron"], **zone)
    if "interval" in schedule:
        return IntervalSchedule(interval=timedelta(seconds=schedule["interval"]), **zone)
    if "rrule" in schedule:
        return RRuleSchedule(rrule=schedule["rrule"], **zone)
    raise ValueError("it has neither cron nor interval nor rrule")
