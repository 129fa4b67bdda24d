"""Prefect flows, tasks and deployments: the only package that imports Prefect."""

import os
import tomllib
from pathlib import Path

from advkd.runtime import spare_loopback


def _require_profiles() -> None:
    """Checks Prefect's file of profiles, if there is one: Prefect's own error does not name it.

    Raises:
        ValueError: it is no TOML.
    """
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    file = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    try:
        content = file.read_bytes()
    except OSError:
        return
    try:
        tomllib.loads(content.decode())
    except ValueError as error:
        raise ValueError(
            f"Prefect's profiles must be TOML, got {error} in {file}; correct the file, or remove it"
        ) from error


# Prefect reads all of it when it is imported: our commands send no usage reports, and ask no proxy for this machine.
os.environ.setdefault("DO_NOT_TRACK", "1")
# OpenMP reads it when torch is imported. A forked training has its parent's OpenMP, whose idle threads must not spin:
# that costs a factor of ten as soon as anything else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
spare_loopback()
_require_profiles()
