"""Prefect flows, tasks and deployments: the only package that imports Prefect."""

import os
import sys
import tomllib
from pathlib import Path

from advkd.runtime import let_idle_threads_sleep, spare_loopback


def _require_profiles() -> None:
    """Checks Prefect's file of profiles, if there is one: Prefect's own error does not name it.

    Raises:
        ValueError: it is no TOML; `python -m flows.<name>` ends with the message alone.
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
        told = f"Prefect's profiles must be TOML, got {error} in {file}; correct the file, or remove it"
        # So it stands while `python -m` looks for the module that it runs.
        if sys.argv[:1] == ["-m"]:
            raise SystemExit(f"error: {told}") from None
        raise ValueError(told) from error


# Prefect reads all of it when it is imported: our commands send no usage reports, and ask no proxy for this machine.
os.environ.setdefault("DO_NOT_TRACK", "1")
spare_loopback()
# A forked training has its parent's OpenMP, which reads its policy when torch is imported.
let_idle_threads_sleep()
_require_profiles()
