"""What is said of a download: its size first, then how far it is; nothing of small JSON files."""

import io
import logging

import pytest
from rich.console import Console

from advkd.files import told
from advkd.runtime import progress, reporting

MIB = 1 << 20


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal that keeps what is written to it."""
    written = io.StringIO()
    shown = Console(file=written, force_terminal=True, width=100, highlight=False)
    for module in ("advkd.runtime.reporting.console", "advkd.files.telling.console"):
        monkeypatch.setattr(module, lambda: shown)
    for name in (reporting.FORM_VARIABLE, reporting.LOG_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return written


def test_sizes_are_said_before_and_a_bar_follows(terminal: io.StringIO) -> None:
    with told("s3://bucket/[one]", {"a.safetensors": 3 * MIB, "b.safetensors": MIB}) as arrived:
        assert "fetching 2 files (4.0 MiB) of s3://bucket/[one]\n" in terminal.getvalue()
        arrived(2 * MIB)
        arrived(2 * MIB)
    assert "100%" in terminal.getvalue()


def test_a_download_within_other_work_has_its_bar_too(terminal: io.StringIO) -> None:
    with progress() as report:
        report("trajectories", 1, 4)
        with told("org/name", {"a.safetensors": MIB}) as arrived:
            arrived(MIB)
        report("trajectories", 4, 4)
    assert "trajectories" in terminal.getvalue()
    assert "fetching 1 file (1.0 MiB) of org/name" in terminal.getvalue()


def test_elsewhere_it_is_a_record_and_json_is_no_news(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "advkd"), told("org/name", {"model_index.json": 100}) as arrived:
        arrived(100)
    assert caplog.messages == []
    with caplog.at_level(logging.INFO, "advkd"), told("org/name", {"a.bin": 2 * MIB}) as arrived:
        arrived(MIB)
    assert caplog.messages == ["fetching 1 file (2.0 MiB) of org/name"]
    assert capsys.readouterr().out == ""
