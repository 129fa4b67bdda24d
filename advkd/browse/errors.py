"""What a request may ask for that is not there, and how every error is told to a browser."""

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
    """There is no such store, sample, timestep or student here."""


class RequestError(ValueError):
    """A part of the URL is not what it has to be."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """An error as it is shown: HTTP status, one word, a heading, and whether trying again may help by itself."""

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
"""What is told as it is; everything else is a fault of ours."""
FAULT = Told(status=500, kind="fault", title="This went wrong here")


def told(error: Exception) -> Told:
    """How an error of ours is told."""
    return next(answer for kind, answer in _TOLD if isinstance(error, kind))
