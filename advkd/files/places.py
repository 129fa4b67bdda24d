"""Distinguishes paths from URIs, and refuses credentials in URIs."""

from urllib.parse import urlsplit


def is_remote(place: str) -> bool:
    """Returns whether a place is the URI of an object store's prefix."""
    return "://" in place


def refuse_credentials(uri: str) -> None:
    """Refuses credentials in a URI, because many people can read parameters and records.

    Raises:
        ValueError: the URI has a user, a password or a query; the message does not repeat them.
    """
    if "://" not in uri:
        return
    parts = urlsplit(uri)
    if "@" in parts.netloc or parts.query:
        raise ValueError(
            f"a URI must not hold credentials or a query, got some in one below {parts.scheme}://; put credentials "
            "into the AWS variables or a profile"
        )
