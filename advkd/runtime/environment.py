"""What our processes set in their environment, and in that of the processes that they start, before libraries read it.

Requests to this machine go to no proxy; those elsewhere (S3, hub, MLflow) go through them as usual. OpenMP's idle
threads sleep.
"""

import os

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_VARIABLES = ("NO_PROXY", "no_proxy")


def let_idle_threads_sleep() -> None:
    """Sets OMP_WAIT_POLICY=PASSIVE unless a policy is set; call it before torch is imported, when OpenMP reads it.

    Threads that spin while they wait cost a factor of ten as soon as anything else runs on the machine.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
