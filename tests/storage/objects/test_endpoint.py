"""Which endpoint S3 requests go to: what botocore resolves, wherever its users write it."""

from pathlib import Path

import pytest

from storage.objects.s3 import _client_config, _endpoint

SERVICES = """[profile mine]
services = here
[services here]
s3 =
  endpoint_url = http://127.0.0.1:9001
[profile plain]
endpoint_url = http://127.0.0.1:9002
[default]
endpoint_url = http://127.0.0.1:9003
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text(SERVICES)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({}, 9003),
        ({"AWS_PROFILE": "plain"}, 9002),
        ({"AWS_PROFILE": "mine"}, 9001),
        ({"AWS_PROFILE": "mine", "AWS_ENDPOINT_URL": "http://127.0.0.1:9004"}, 9004),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9004", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9005"}, 9005),
    ],
)
def test_the_endpoint_is_the_one_that_botocore_resolves(variables, port, monkeypatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    endpoint = _endpoint()
    assert endpoint == f"http://127.0.0.1:{port}"
    # Ranged reads of servers other than AWS fail otherwise.
    assert _client_config(endpoint)["response_checksum_validation"] == "when_required"


def test_configured_endpoints_can_be_ignored(monkeypatch) -> None:
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert _endpoint() is None


def test_aws_itself_has_no_endpoint(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert _endpoint() is None
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert _endpoint() is None
