"""Keeps requests to this machine away from proxies. Requests elsewhere (S3, hub, MLflow) go through them as usual."""

import os

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_VARIABLES = ("NO_PROXY", "no_proxy")


def spare_loopback() -> None:
    """Adds the loopback's names to NO_PROXY of this process and of those that it starts, if a proxy is configured."""
    if not any(os.environ.get(name) for scheme in ("http", "https", "all") for name in _forms(f"{scheme}_proxy")):
        return
    named = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), "")
    listed = [host.strip() for host in named.split(",") if host.strip()]
    value = ",".join([*listed, *(host for host in LOOPBACK if host not in listed)])
    for name in _VARIABLES:
        os.environ[name] = value


def _forms(name: str) -> tuple[str, str]:
    return name, name.upper()
