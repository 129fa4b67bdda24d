"""Permanent links to what `advkd browse` shows, for reports and artifacts; they name stores by digest, not by path."""

import os

DEFAULT_PORT = 8765

ADDRESS_VARIABLE = "ADVKD_BROWSE_URL"
"""Where people of a team reach the page; unset, it is this machine's default port."""
_DIGITS = 16


def store_link(digest: str, *, sample: int | None = None, base: str | None = None) -> str:
    """The page of a store, or of one of its samples.

    Args:
        digest: of the store's spec, 16 hex digits or more.
        sample: its number.
        base: address of the server; None: `$ADVKD_BROWSE_URL`, else the default port of the loopback.
    """
    found = base or os.environ.get(ADDRESS_VARIABLE) or f"http://127.0.0.1:{DEFAULT_PORT}"
    path = f"/s/{digest[:_DIGITS]}" + ("" if sample is None else f"/sample/{sample}")
    return found.rstrip("/") + path
