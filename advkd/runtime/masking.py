"""Masks secrets of the environment in a text: the last guard against libraries whose messages repeat them."""

import os
import re
from urllib.parse import unquote

_NAMES = re.compile(r"(SECRET_ACCESS_KEY|SECRET|TOKEN|PASSWORD|API_KEY|AUTH_STRING)$")
_CREDENTIALS = re.compile(r"://(?:[^/@\s:]*):([^/@\s]+)@")
_SHORTEST = 6
"""Shortest value that is masked; shorter ones may be ordinary words."""
_MASK = "***"


def masked(text: str) -> str:
    """Masks the values of variables that are named like secrets, and passwords in URLs."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _CREDENTIALS.sub(f"://{_MASK}@", text)


def _secrets() -> set[str]:
    secrets: set[str] = set()
    for name, setting in os.environ.items():
        given = [setting] if _NAMES.search(name) else _CREDENTIALS.findall(setting)
        secrets |= {form for value in given for form in (value, unquote(value)) if len(value) >= _SHORTEST}
    return secrets
