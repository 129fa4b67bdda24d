"""Whether a Prefect server of this machine answers; why one did not answer as it should, and what to set."""

import urllib.error
import urllib.request

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from advkd.runtime import masked

# Never by a proxy; `urlopen` would keep the one that the environment named at a process's first call.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Returns whether the server of this machine at an API URL answers; asks it directly, whatever proxies are set."""
    try:
        with _DIRECT.open(f"{url}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def why_no_answer(error: BaseException, url: str | None) -> str:
    """Returns what is wrong between this process and a server, with the remedy; no password is in it.

    Args:
        error: what the request ended in.
        url: PREFECT_API_URL.
    """
    place = masked(url or "no PREFECT_API_URL")
    code = error.response.status_code if isinstance(error, (httpx.HTTPStatusError, PrefectHTTPStatusError)) else None
    if code in (401, 403):
        return f"{place} asks for a user and a password; export PREFECT_API_AUTH_STRING=USER:PASSWORD of that server"
    if code == 404:
        return f"{place} has no API; PREFECT_API_URL ends with the server's base path, which is /api unless it is set"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"the certificate of {place} is not trusted; export PREFECT_API_SSL_CERT_FILE=FILE of who signed it"
    fact = f"{place} does not answer ({type(error).__name__})"
    return f"{fact}; start it by `prefect server start`, or correct PREFECT_API_URL"
