import os

import pytest

from advkd.runtime import let_idle_threads_sleep, spare_loopback

VARIABLES = [form for name in ("no_proxy", "http_proxy", "https_proxy", "all_proxy") for form in (name, name.upper())]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in VARIABLES:
        # Set and removed, so that what the function adds is removed after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("proxy", VARIABLES[2:])
def test_a_configured_proxy_is_not_asked_for_this_machine(proxy, monkeypatch) -> None:
    monkeypatch.setenv(proxy, "http://proxy:3128")
    spare_loopback()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "127.0.0.1,localhost,::1"


def test_hosts_that_the_user_spares_stay(monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "models.internal, localhost")
    for _ in range(2):
        spare_loopback()
        assert os.environ["no_proxy"] == "models.internal,localhost,127.0.0.1,::1"


def test_without_a_proxy_nothing_is_set() -> None:
    spare_loopback()
    assert "NO_PROXY" not in os.environ
    assert "no_proxy" not in os.environ


@pytest.mark.parametrize(("was", "is_now"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_idle_threads_sleep_unless_the_user_says_otherwise(monkeypatch, was, is_now) -> None:
    # Set and removed, so that what the function sets is removed after the test.
    monkeypatch.setenv("OMP_WAIT_POLICY", was or "")
    if was is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    let_idle_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == is_now
