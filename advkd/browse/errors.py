"""Errors of requests, and how every error is shown in a browser."""

from dataclasses import dataclass

from storage import (
    ManifestError,
    ShardCorruptError,
    StoreError,
    StoreIncompleteError,
    StoreNotFoundError,
    StorePermissionError,
    StoreUnreachableError,
)


class NotShownError(LookupError):
    """The server has no such store, sample, timestep or student."""


class RequestError(ValueError):
    """A part of the URL is invalid."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """An error as shown: HTTP status, kind, title, and whether trying again may help."""

    status: int
    kind: str
    title: str
    passing: bool = False


_TOLD: tuple[tuple[type[Exception], Told], ...] = (
    (NotShownError, Told(status=404, kind="unknown", title="Not here")),
    (RequestError, Told(status=400, kind="request", title="That address does not fit")),
    (ShardCorruptError, Told(status=422, kind="corrupt", title="Damaged data")),
    (StoreIncompleteError, Told(status=409, kind="pending", title="Not written yet", passing=True)),
    (ManifestError, Told(status=422, kind="corrupt", title="A record of this store cannot be used")),
    (StoreNotFoundError, Told(status=410, kind="gone", title="The store is gone", passing=True)),
    (StorePermissionError, Told(status=403, kind="forbidden", title="No rights to read this")),
    (StoreUnreachableError, Told(status=503, kind="unreachable", title="The store cannot be reached", passing=True)),
    (StoreError, Told(status=500, kind="failed", title="The store cannot be read", passing=True)),
    (OSError, Told(status=503, kind="failed", title="The store cannot be read", passing=True)),
)
SHOWN_ERRORS = (StoreError, NotShownError, RequestError, OSError)
"""Errors whose message is shown; all others are faults of this program."""
FAULT = Told(status=500, kind="fault", title="This went wrong here")


def told(error: Exception) -> Told:
    """Returns how one of `SHOWN_ERRORS` is shown."""
    return next(answer for kind, answer in _TOLD if isinstance(error, kind))
