"""Prefect's file of profiles: Prefect reads it when it is imported, and its error does not name it.

Imports no Prefect.
"""

import os
import tomllib
from pathlib import Path


def require_profiles() -> None:
    """Checks the file of profiles, if there is one.

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
