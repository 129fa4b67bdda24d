"""Whether something is named by a path or by a URI, and what must not stand in a URI."""

from urllib.parse import urlsplit


def is_remote(place: str) -> bool:
    """Whether it is the URI of an object store's prefix."""
    return "://" in place


def refuse_credentials(uri: str) -> None:
    """Parameters and records are read by many: what opens a bucket has no place in a URI.

    Raises:
        ValueError: it has a user, a password or a query; the message does not repeat them.
    """
    if "://" not in uri:
        return
    parts = urlsplit(uri)
    if "@" in parts.netloc or parts.query:
        raise ValueError(
            f"a URI must not hold credentials or a query, got some in one below {parts.scheme}://; put credentials "
            "into the AWS variables or a profile"
        )
