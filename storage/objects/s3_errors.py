"""Interprets S3 failures: whether a retry may succeed, and which of our errors a failure is.

Messages name endpoint, bucket and remedy, never a key. botocore and s3fs are imported at a failure, by which time a
request has imported them: most processes never reach S3.
"""

from typing import Any
from urllib.parse import urlsplit

from storage.errors import StoreError, StoreFullError, StoreNotFoundError, StorePermissionError, StoreUnreachableError

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


def answer(error: BaseException | None) -> tuple[str, int]:
    """Returns the service's error code and HTTP status, "" and 0 if it did not answer."""
    from botocore.exceptions import ClientError

    for candidate in (error, error.__cause__ if error else None):
        if isinstance(candidate, ClientError):
            response: Any = candidate.response
            code = str(response.get("Error", {}).get("Code", ""))
            return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return "", 0


def is_temporary(error: BaseException) -> bool:
    """Returns whether a retry may succeed: the service is busy, or its answer did not arrive whole."""
    code, status = answer(error)
    if code or status:
        return code in _BUSY or status == 429 or (status >= 500 and status not in (501, 507) and code not in _FULL)
    return _is_broken(error) and not _lacks_credentials(error)


def translated(error: Exception, endpoint: str | None, bucket: str, key: str) -> StoreError:
    """Returns our error for an error of s3fs or botocore: rule, fact, remedy."""
    from botocore.exceptions import HTTPClientError

    code, status = answer(error)
    where = f"endpoint {_without_userinfo(endpoint)}, bucket {bucket!r}"
    answered = f"{code or type(error).__name__}" + (f" (HTTP {status})" if status else "")
    if code == "NoSuchBucket":
        return StoreNotFoundError(f"the bucket must exist, but there is none ({where}); create it first")
    if code == "NoSuchKey" or status == 404 or isinstance(error, FileNotFoundError):
        return StoreNotFoundError(
            f"an object to read must exist, but s3://{bucket}/{key} does not ({where}); check the URI"
        )
    if code in _REFUSED or status in (401, 403) or isinstance(error, PermissionError) or _lacks_credentials(error):
        return StorePermissionError(
            f"S3 access needs valid credentials with rights on the bucket, but {where} answered {answered}; check "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and the bucket's policy"
        )
    if code in _FULL or status == 507:
        return StoreFullError(f"writing needs free space, but {where} answered {answered}; free some and run again")
    if _is_misconfigured(error):
        return StoreError(
            f"S3 needs a configuration that can be used, but: {' '.join(str(error).split())}; correct "
            "AWS_ENDPOINT_URL, AWS_PROFILE or the file in AWS_CONFIG_FILE"
        )
    if is_temporary(error) or isinstance(error, HTTPClientError):
        return StoreUnreachableError(
            f"the S3 endpoint must answer, but {where} gave {answered}, the last of several attempts; check "
            "AWS_ENDPOINT_URL and that the service is up, then run the same command again"
        )
    return StoreError(
        f"an S3 request must succeed, but {where} answered {answered} to one for {key!r}; check AWS_ENDPOINT_URL and "
        "the bucket's name"
    )


def _is_broken(error: BaseException) -> bool:
    """Returns whether a connection failed, or an answer broke off."""
    from botocore import exceptions
    from s3fs.core import S3_RETRYABLE_ERRORS

    # botocore's last one: a body shorter than its Content-Length that aiohttp did not notice, as s3fs does others.
    kinds = (*S3_RETRYABLE_ERRORS, ConnectionError, exceptions.ConnectionError, exceptions.IncompleteReadError)
    return isinstance(error, kinds)


def _lacks_credentials(error: BaseException) -> bool:
    from botocore import exceptions

    kinds = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
    )
    return isinstance(error, kinds)


def _is_misconfigured(error: BaseException) -> bool:
    """Returns whether nothing was asked of a server, because what this machine says about it makes no sense."""
    from botocore import exceptions

    kinds = (
        exceptions.ProfileNotFound,
        exceptions.ConfigParseError,
        exceptions.ConfigNotFound,
        exceptions.InvalidConfigError,
    )
    # botocore has no class for an endpoint that is no URL.
    return isinstance(error, kinds) or (isinstance(error, ValueError) and "endpoint" in str(error).lower())


def _without_userinfo(endpoint: str | None) -> str:
    if endpoint is None:
        return "AWS"
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
