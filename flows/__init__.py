"""Prefect flows, tasks and deployments: the only package that imports Prefect."""

import os

from advkd.runtime import spare_loopback
from flows.profiles import require_profiles

# Prefect reads all of it when it is imported: our commands send no usage reports, and ask no proxy for this machine.
os.environ.setdefault("DO_NOT_TRACK", "1")
spare_loopback()
require_profiles()
