"""Permanent links to the pages of `advkd browse`, for reports and artifacts; they name stores by digest, not path."""

import os

DEFAULT_PORT = 8765

ADDRESS_VARIABLE = "ADVKD_BROWSE_URL"
"""Environment variable with the address at which a team reaches the page; unset: this machine's default port."""
_DIGITS = 16


def store_link(digest: str) -> str:
    """Returns the address of a store's page; `digest` is that of its spec, 16 hex digits or more."""
    address = os.environ.get(ADDRESS_VARIABLE) or f"http://127.0.0.1:{DEFAULT_PORT}"
    return f"{address.rstrip('/')}/s/{digest[:_DIGITS]}"
