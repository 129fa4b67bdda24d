"""Pins of sources: `SOURCE#sha256=<fingerprint>`. If the place then holds another teacher, that is an error."""

import re

from advkd.teachers.errors import TeacherError

_PIN = "#sha256="
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def pinned(source: str, fingerprint: str) -> str:
    """Pins a source to the teacher with this fingerprint."""
    return f"{source}{_PIN}{fingerprint}"


def split_pin(source: str) -> tuple[str, str | None]:
    """Splits a source into its place and its fingerprint, None if it is not pinned.

    Raises:
        TeacherError: the source is pinned to something that is no fingerprint.
    """
    place, marker, fingerprint = source.partition(_PIN)
    if not marker:
        return source, None
    if not place or not _FINGERPRINT.fullmatch(fingerprint):
        raise TeacherError(
            f"a teacher is pinned by `SOURCE{_PIN}` and 64 hex digits, got {fingerprint!r}; copy its fingerprint whole"
        )
    return place, fingerprint
