"""Objects in S3 or an S3-compatible server: one PUT per write, one GET per read, one retry policy.

All settings come from the usual AWS variables and profiles, through s3fs and botocore. Only this module retries; the
retries of s3fs and botocore are off. It gives up at the first failure later than `GIVE_UP_SECONDS`, but not before the
second attempt. So a request without an answer fails within 45 seconds: two attempts of `CONNECT_TIMEOUT_SECONDS` and
`READ_TIMEOUT_SECONDS` each, plus the time to send a body at `SLOWEST_UPLOAD`. An answer whose bytes keep coming does
not time out. A process that may wait longer says so in `PATIENCE`, as flows do.

s3fs and botocore are imported at the first request: they take half a second, and most processes never reach S3.
"""

import itertools
import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from storage.errors import StoreError, StoreNotFoundError
from storage.objects.protocol import Leftover, Level, ObjectInfo
from storage.objects.s3_errors import answer, is_temporary, translated
from storage.objects.scatter import byte_parts, fill

logger = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 4
READ_TIMEOUT_SECONDS = 18
GIVE_UP_SECONDS = 10.0
MAX_ATTEMPTS = 6
PATIENCE = "ADVKD_S3_PATIENCE"
"""Environment variable: seconds for which a server that does not answer is tried again; 0 if not set."""
SLOWEST_UPLOAD = 2**17
"""Bytes per second (1 Mbit/s); a slower upload counts as dead."""
PAGE = 1000
"""Entries per request of a listing; S3 sends no more."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE = 32
"""Times the first one."""
_SINGLE_PUT_LIMIT = 5 * 2**30


def patience() -> float:
    """Reads `PATIENCE` from the environment: seconds.

    Raises:
        ValueError: it is no number of seconds.
    """
    said = os.environ.get(PATIENCE, "0")
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{PATIENCE} must be a number of seconds, got {said!r}; set it to 60, or unset it")
    return seconds


class S3Objects:
    """Objects at `bucket/key` paths; each process opens a file system lazily (s3fs does not survive a fork)."""

    def __init__(self) -> None:
        self._opened: dict[tuple[int, int], tuple[Any, str | None]] = {}

    def read(self, path: str) -> bytes:
        """Reads all bytes of an object in a single GET."""
        return bytes(self._attempt(path, lambda fs: fs.cat_file(path, max_concurrency=1)))

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Reads the bytes start..stop-1 of an object in a single GET."""
        if start == stop:  # HTTP has no empty range
            self._attempt(path, _head(path))
            return b""
        try:
            data = self._attempt(path, lambda fs: fs.cat_file(path, start=start, end=stop))
        except StoreError as error:
            if answer(error.__cause__)[1] == 416:  # the object ends before
                return b""
            raise
        # A server without ranges returns the whole object.
        return bytes(data if len(data) <= stop - start else data[start:stop])

    def read_into(self, path: str, size: int, allocate: Callable[[], Sequence[memoryview]]) -> int:
        """Returns the size of an object; if it equals `size`, reads its bytes into the allocated parts."""
        data = self.read(path)
        if len(data) == size:
            fill(byte_parts(allocate(), size), data)
        return len(data)

    def write(self, path: str, data: bytes) -> None:
        """Creates or replaces an object by a single PUT (at most 5 GiB)."""
        if len(data) >= _SINGLE_PUT_LIMIT:
            raise StoreError(f"an object holds less than 5 GiB, got {len(data)} bytes; use smaller shards")
        # aiohttp's time-outs start only when the body is sent; without this one, sending could last for ever.
        patience = CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS + len(data) / SLOWEST_UPLOAD
        options = {"chunksize": _SINGLE_PUT_LIMIT, "timeout": patience}
        from fsspec.asyn import sync

        self._attempt(path, lambda fs: sync(fs.loop, fs._pipe_file, path, data, **options))

    def create(self, path: str, data: bytes) -> bool:
        """Creates an object by a conditional PUT unless it exists.

        Servers without conditional writes ignore or refuse the condition. There, an existing object is left alone, and
        of two PUTs at the same moment the last one stays.
        """
        if self.exists(path):
            return False
        bucket, key = _split(path)
        request = {"Bucket": bucket, "Key": key, "Body": data}
        try:
            self._attempt(path, lambda fs: fs.call_s3("put_object", IfNoneMatch="*", **request))
        except StoreError as error:
            code, status = answer(error.__cause__)
            unsupported = code == "NotImplemented" or status == 501
            if not unsupported and status not in (409, 412):
                raise
            if unsupported:
                self._attempt(path, lambda fs: fs.call_s3("put_object", **request))
        # Read the object to find out, even if refused: an earlier attempt whose answer was lost may have created it.
        try:
            return self.read(path) == data
        except StoreNotFoundError:
            return False

    def exists(self, path: str) -> bool:
        """Returns whether the object exists; one HEAD."""
        try:
            self._attempt(path, _head(path))
        except StoreNotFoundError:
            return False
        return True

    def delete(self, path: str) -> None:
        """Removes the object if it exists."""
        bucket, key = _split(path)
        try:
            self._attempt(path, lambda fs: fs.call_s3("delete_object", Bucket=bucket, Key=key))
        except StoreNotFoundError as error:
            logger.debug("nothing to delete: %s", error)

    def entries(self, path: str, start_after: str) -> Iterator[ObjectInfo]:
        """Yields all objects below a prefix; raises `StoreNotFoundError` if the bucket does not exist."""
        _, prefix = _folder(path)
        for page in self._pages(path, **({"StartAfter": prefix + start_after} if start_after else {})):
            yield from _finished(page.get("Contents", ()), prefix)

    def level(self, path: str) -> Level:
        """Lists the common prefixes and the objects directly below a prefix."""
        _, prefix = _folder(path)
        pages = list(self._pages(path, Delimiter="/"))
        folders = (entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ()))
        objects = (entry for page in pages for entry in page.get("Contents", ()))
        return Level([name[len(prefix) :].rstrip("/") for name in folders], list(_finished(objects, prefix)))

    def leftovers(self, path: str) -> list[Leftover]:
        """Returns none: an object appears by its single PUT, or not at all."""
        return []

    def remove_leftover(self, path: str, leftover: Leftover) -> None:
        """Raises, because there are no unfinished writes."""
        raise ValueError(f"s3:// has no unfinished writes of ours, got {leftover}; remove it with the tools of S3")

    def _pages(self, path: str, **options: str) -> Iterator[Any]:
        bucket, prefix = _folder(path)
        request = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": PAGE, **options}
        while True:
            page = self._attempt(path, lambda fs: fs.call_s3("list_objects_v2", **request))
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _attempt(self, path: str, call: Callable[[Any], T]) -> T:
        bucket, key = _split(path)
        fs, endpoint = self._open()
        started, patient = time.monotonic(), patience()
        for attempt in itertools.count(1):
            try:
                return call(fs)
            except Exception as error:
                passed = time.monotonic() - started
                enough = attempt >= MAX_ATTEMPTS or (attempt > 1 and passed > GIVE_UP_SECONDS)
                if not is_temporary(error) or (enough and passed >= patient):
                    raise translated(error, endpoint, bucket, key) from error
                if attempt == MAX_ATTEMPTS:
                    kind, where = type(error).__name__, endpoint or "AWS"
                    logger.warning("%s does not answer (%s): trying for up to %.0f s", where, kind, patient)
                pause = _FIRST_PAUSE_SECONDS * min(2 ** (attempt - 1), _LONGEST_PAUSE) * random.uniform(0.5, 1.5)
                logger.debug("s3://%s/%s: %s, again in %.2f s", bucket, key, type(error).__name__, pause)
                time.sleep(pause)
        raise AssertionError("an attempt returns or raises")

    def _open(self) -> tuple[Any, str | None]:
        """Returns the file system for this process and the current AWS variables, and its endpoint."""
        import s3fs

        settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
        key = (os.getpid(), hash(settings))
        if key not in self._opened:
            endpoint = _endpoint()
            fs = s3fs.S3FileSystem(
                endpoint_url=endpoint,
                use_listings_cache=False,
                config_kwargs=_client_config(endpoint),
                skip_instance_cache=True,
            )
            fs.retries = 1
            self._opened[key] = (fs, endpoint)
        return self._opened[key]


def _finished(entries: Iterable[Any], prefix: str) -> Iterator[ObjectInfo]:
    for entry in entries:
        key, modified = entry["Key"][len(prefix) :], entry["LastModified"].timestamp()
        # Consoles make "folders": empty objects whose names end in a slash.
        if not entry["Key"].endswith("/"):
            yield ObjectInfo(key=key, size=entry["Size"], modified=modified)


def _head(path: str) -> Callable[[Any], Any]:
    bucket, key = _split(path)
    return lambda fs: fs.call_s3("head_object", Bucket=bucket, Key=key)


def _client_config(endpoint: str | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "read_timeout": READ_TIMEOUT_SECONDS,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
    }
    if endpoint is not None:
        # Servers other than AWS answer ranged GETs with the whole object's checksum, which botocore then rejects.
        for name in ("request_checksum_calculation", "response_checksum_validation"):
            if f"AWS_{name.upper()}" not in os.environ:
                config[name] = "when_required"
    return config


def _endpoint() -> str | None:
    """Returns the custom endpoint that botocore finds in variables, profile and `services` section; None for AWS."""
    from botocore.configprovider import ConfiguredEndpointProvider
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session()
    try:
        if session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        configured = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "s3")
        endpoint: str | None = configured.provide()
    except BotoCoreError:
        return None
    return endpoint


def _split(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    if not bucket or "@" in bucket:
        raise ValueError("an S3 URI reads s3://bucket/key and holds no credentials; set the AWS variables instead")
    return bucket, key


def _folder(path: str) -> tuple[str, str]:
    bucket, key = _split(path)
    return bucket, key.rstrip("/") + "/" if key.strip("/") else ""
