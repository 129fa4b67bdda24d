"""Secrets of the environment, taken out of a text: the last guard, for messages of libraries that repeat them."""

import os
import re
from urllib.parse import unquote

_NAMES = re.compile(r"(SECRET_ACCESS_KEY|SECRET|TOKEN|PASSWORD|API_KEY|AUTH_STRING)$")
_CREDENTIALS = re.compile(r"://(?:[^/@\s:]*):([^/@\s]+)@")
_SHORTEST = 6
"""Shorter values are words that occur anywhere."""
_MASK = "***"


def masked(text: str) -> str:
    """The text without the values of variables that are named like secrets, and without passwords in URLs."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _CREDENTIALS.sub(f"://{_MASK}@", text)


def _secrets() -> set[str]:
    found = set()
    for name, value in os.environ.items():
        given = [value] if _NAMES.search(name) else _CREDENTIALS.findall(value)
        found |= {form for one in given for form in (one, unquote(one)) if len(one) >= _SHORTEST}
    return found
