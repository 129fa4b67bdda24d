"""Objects in S3, or in a server that speaks it: one PUT per write, one GET per read, one retry policy.

All settings come from the usual AWS variables and profiles, through s3fs and botocore. Retries are made here alone
(s3fs and botocore are told not to), so that "how long until it gives up" has one answer: the attempt under way after
`GIVE_UP_SECONDS` is the last, the second at the earliest. Messages name endpoint, bucket and remedy, never a key.
"""

import logging
import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.exceptions
import botocore.session
import s3fs
from s3fs.core import S3_RETRYABLE_ERRORS

from storage.errors import (
    StoreError,
    StoreFullError,
    StoreNotFoundError,
    StorePermissionError,
    StoreUnreachableError,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 4
READ_TIMEOUT_SECONDS = 20
GIVE_UP_SECONDS = 10.0
MAX_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.1
_SINGLE_PUT_LIMIT = 5 * 2**30

_REFUSED = {
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
_BUSY = {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "TooManyRequests"}
_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.ProfileNotFound,
)


class S3Objects:
    """Objects at `bucket/key` paths; a file system is opened lazily by each process (s3fs does not survive a fork)."""

    def __init__(self) -> None:
        self._opened: dict[tuple[int, int], tuple[Any, str | None]] = {}

    def read(self, path: str) -> bytes:
        """All bytes of an object, in a single GET."""
        return bytes(self._attempt(path, lambda fs: fs.cat_file(path, max_concurrency=1)))

    def write(self, path: str, data: bytes) -> None:
        """Create or replace an object by a single PUT (at most 5 GiB)."""
        if len(data) >= _SINGLE_PUT_LIMIT:
            raise StoreError(f"an object holds less than 5 GiB, got {len(data)} bytes; use smaller shards")
        self._attempt(path, lambda fs: fs.pipe_file(path, data, chunksize=_SINGLE_PUT_LIMIT))

    def exists(self, path: str) -> bool:
        """Whether the object is there; one HEAD."""
        bucket, key = _split(path)
        try:
            self._attempt(path, lambda fs: fs.call_s3("head_object", Bucket=bucket, Key=key))
        except StoreNotFoundError:
            return False
        return True

    def delete(self, path: str) -> None:
        """Remove the object if it is there."""
        bucket, key = _split(path)
        try:
            self._attempt(path, lambda fs: fs.call_s3("delete_object", Bucket=bucket, Key=key))
        except StoreNotFoundError as error:
            logger.debug("nothing to delete: %s", error)

    def keys(self, path: str) -> list[str]:
        """All keys below a prefix, relative to it; `StoreNotFoundError` if the bucket is not there."""
        _, prefix = _folder(path)
        pages = self._pages(path, delimiter="")
        return sorted(entry["Key"][len(prefix) :] for page in pages for entry in page.get("Contents", ()))

    def folders(self, path: str) -> list[str]:
        """Names of the common prefixes right below a prefix."""
        _, prefix = _folder(path)
        pages = self._pages(path, delimiter="/")
        found = (entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ()))
        return sorted(name[len(prefix) :].rstrip("/") for name in found)

    def _pages(self, path: str, *, delimiter: str) -> list[Any]:
        bucket, prefix = _folder(path)
        request = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter}
        pages = [self._attempt(path, lambda fs: fs.call_s3("list_objects_v2", **request))]
        while pages[-1].get("IsTruncated"):
            request["ContinuationToken"] = pages[-1]["NextContinuationToken"]
            pages.append(self._attempt(path, lambda fs: fs.call_s3("list_objects_v2", **request)))
        return pages

    def _attempt(self, path: str, call: Callable[[Any], T]) -> T:
        bucket, key = _split(path)
        fs, endpoint = self._open()
        started = time.monotonic()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return call(fs)
            except Exception as error:
                late = attempt > 1 and time.monotonic() - started > GIVE_UP_SECONDS
                give_up = late or attempt == MAX_ATTEMPTS
                if not _is_temporary(error) or give_up:
                    raise _translated(error, endpoint, bucket, key) from error
                pause = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
                logger.debug("s3://%s/%s: %s, again in %.2f s", bucket, key, type(error).__name__, pause)
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _open(self) -> tuple[Any, str | None]:
        """The file system of this process and of the AWS variables as they are now, and its endpoint."""
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
    """The custom endpoint that AWS variables or the profile name, None for AWS itself."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    from_variables = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if from_variables:
        return from_variables
    try:
        profile: dict[str, Any] = botocore.session.Session().get_scoped_config()
    except botocore.exceptions.BotoCoreError:
        return None
    return profile.get("endpoint_url")


def _split(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    if not bucket or "@" in bucket:
        raise ValueError("an S3 URI reads s3://bucket/key and holds no credentials; set the AWS variables instead")
    return bucket, key


def _folder(path: str) -> tuple[str, str]:
    bucket, key = _split(path)
    return bucket, key.rstrip("/") + "/" if key.strip("/") else ""


def _answer(error: BaseException) -> tuple[str, int]:
    """The service's error code and HTTP status, "" and 0 if it did not answer."""
    for candidate in (error, error.__cause__):
        if isinstance(candidate, botocore.exceptions.ClientError):
            response: Any = candidate.response
            code = str(response.get("Error", {}).get("Code", ""))
            return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return "", 0


def _is_temporary(error: BaseException) -> bool:
    code, status = _answer(error)
    if code or status:
        return code in _BUSY or status == 429 or (status >= 500 and status not in (501, 507) and code not in _FULL)
    broken = (*S3_RETRYABLE_ERRORS, ConnectionError, botocore.exceptions.ConnectionError)
    return isinstance(error, broken) and not isinstance(error, _NO_CREDENTIALS)


def _translated(error: Exception, endpoint: str | None, bucket: str, key: str) -> StoreError:
    code, status = _answer(error)
    where = f"endpoint {_without_userinfo(endpoint)}, bucket {bucket!r}"
    answer = f"{code or type(error).__name__}" + (f" (HTTP {status})" if status else "")
    if code == "NoSuchBucket":
        return StoreNotFoundError(f"the bucket must exist, but there is none ({where}); create it first")
    if code == "NoSuchKey" or status == 404 or isinstance(error, FileNotFoundError):
        return StoreNotFoundError(
            f"an object to read must exist, but s3://{bucket}/{key} does not ({where}); check the URI"
        )
    if code in _REFUSED or status in (401, 403) or isinstance(error, (PermissionError, *_NO_CREDENTIALS)):
        return StorePermissionError(
            f"S3 access needs valid credentials with rights on the bucket, but {where} answered {answer}; check "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and the bucket's policy"
        )
    if code in _FULL or status == 507:
        return StoreFullError(f"writing needs free space, but {where} answered {answer}; free some and run again")
    if _is_temporary(error) or isinstance(error, botocore.exceptions.HTTPClientError):
        return StoreUnreachableError(
            f"the S3 endpoint must answer, but {where} gave {answer}, the last of several attempts; check "
            "AWS_ENDPOINT_URL and that the service is up, then run the same command again"
        )
    return StoreError(
        f"an S3 request must succeed, but {where} answered {answer} to one for {key!r}; check AWS_ENDPOINT_URL and the "
        "bucket's name"
    )


def _without_userinfo(endpoint: str | None) -> str:
    if endpoint is None:
        return "AWS"
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
