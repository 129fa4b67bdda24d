"""Permanent links to the pages of `advkd browse`, for reports and artifacts; they name stores by digest, not path."""

import os

DEFAULT_PORT = 8765

ADDRESS_VARIABLE = "ADVKD_BROWSE_URL"
"""Environment variable with the address at which a team reaches the page; unset: this machine's default port."""
_DIGITS = 16


def store_link(digest: str, *, sample: int | None = None, base: str | None = None) -> str:
    """Returns the link to the page of a store, or of one of its samples.

    Args:
        digest: digest of the store's spec, at least 16 hex digits.
        sample: number of the sample.
        base: address of the server; None means `$ADVKD_BROWSE_URL`, or the loopback's default port if that is unset.
    """
    address = base or os.environ.get(ADDRESS_VARIABLE) or f"http://127.0.0.1:{DEFAULT_PORT}"
    path = f"/s/{digest[:_DIGITS]}" + ("" if sample is None else f"/sample/{sample}")
    return address.rstrip("/") + path
