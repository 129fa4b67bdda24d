"""Probes what an S3 service allows and how it behaves, on an object of our own below a prefix, which is removed."""

import datetime
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from storage.errors import StoreError
from storage.objects.s3 import S3Objects
from storage.objects.s3_errors import answer

MAX_SKEW_SECONDS = 60.0
"""S3 refuses requests whose clock is off by 15 minutes; a minute already counts as a problem."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Result of probing one right or behaviour."""

    name: str
    """Name of the probe."""
    ok: bool
    """Whether all is well."""
    fact: str
    """What the probe found."""


def probe_s3(uri: str) -> list[Probe]:
    """Tries put, get, ranged get, conditional put, delete and the clock below a prefix `s3://bucket/prefix`.

    Ends with the first required right that is missing, because later probes would fail for the same reason.

    Raises:
        ValueError: the URI is no S3 URI.
    """
    path = uri.removeprefix("s3://").rstrip("/")
    if path == uri.rstrip("/") or not path:
        raise ValueError(f"a probe of S3 needs s3://bucket/prefix, got {uri!r}; give such a URI")
    return _S3Probe(f"{path}/.advkd-doctor-{secrets.token_hex(6)}").run()


class _S3Probe:
    def __init__(self, path: str) -> None:
        self._objects, self._path = S3Objects(), path
        bucket, _, key = path.partition("/")
        self._request = {"Bucket": bucket, "Key": key}
        self._data = secrets.token_bytes(1000)

    def run(self) -> list[Probe]:
        """Runs the probes in order."""
        probes: list[Probe] = []
        try:
            for name, attempt in self._needed():
                try:
                    probes.append(Probe(name=name, ok=True, fact=attempt()))
                except StoreError as error:
                    return [*probes, Probe(name=name, ok=False, fact=str(error))]
            probes += [self._clock(), self._condition()]
        finally:
            removed = self._remove()
        return [*probes, removed]

    def _needed(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("S3 put", self._put),
            ("S3 get", self._get),
            ("S3 ranged get", self._ranged),
            ("S3 list", self._list),
        ]

    def _put(self) -> str:
        self._objects.write(self._path, self._data)
        return "an object can be written"

    def _get(self) -> str:
        return _same(self._objects.read(self._path), self._data, "an object")

    def _ranged(self) -> str:
        return _same(self._objects.read_range(self._path, 100, 200), self._data[100:200], "a range")

    def _list(self) -> str:
        folder, _, name = self._path.rpartition("/")
        if name not in {entry.key for entry in self._objects.entries(folder, "")}:
            raise StoreError(f"an object must be listed once it is written, but s3://{self._path} is not")
        return "an object is listed as soon as it is written"

    def _condition(self) -> Probe:
        name = "S3 conditional put"
        try:
            self._call("put_object", Body=b"other", IfNoneMatch="*")
        except StoreError as error:
            refused = answer(error.__cause__)[1] in (409, 412)
            fact = "refused if the object exists, so claims are exact" if refused else f"not supported ({error})"
            return Probe(name=name, ok=True, fact=fact)
        return Probe(
            name=name,
            ok=True,
            fact="not supported: two runs that start together may compute a shard twice, without harm",
        )

    def _clock(self) -> Probe:
        try:
            headers = self._call("head_object")["ResponseMetadata"]["HTTPHeaders"]
        except StoreError as error:
            return Probe(name="S3 clock", ok=False, fact=str(error))
        told = parsedate_to_datetime(headers["date"]) if "date" in headers else None
        if told is None:
            return Probe(name="S3 clock", ok=True, fact="the service does not state its time")
        skew = (datetime.datetime.now(datetime.UTC) - told).total_seconds()
        return Probe(name="S3 clock", ok=abs(skew) <= MAX_SKEW_SECONDS, fact=f"{abs(skew):.0f} s apart")

    def _remove(self) -> Probe:
        try:
            self._objects.delete(self._path)
        except StoreError as error:
            return Probe(name="S3 delete", ok=False, fact=str(error))
        return Probe(name="S3 delete", ok=True, fact="an object can be removed")

    def _call(self, name: str, **options: Any) -> Any:
        return self._objects._attempt(self._path, lambda fs: fs.call_s3(name, **self._request, **options))


def _same(returned: bytes, expected: bytes, subject: str) -> str:
    if returned != expected:
        raise StoreError(f"{subject} must come back as it was written, but {len(returned)} other bytes did")
    return f"{subject} comes back as it was written"
