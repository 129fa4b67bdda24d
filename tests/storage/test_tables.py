"""The table of every seam finds rows of packages that are installed while the process runs."""

from pathlib import Path

import pytest

from storage.tables import Table


def test_a_package_is_found_once_it_is_installed_although_others_were_looked_for_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    table = Table("advkd.tests.rows", "a row", {"ours": 1})
    assert list(table) == ["ours"]
    information = tmp_path / "late-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[advkd.tests.rows]\nlate = late:row\n")
    (tmp_path / "late.py").write_text("row = 2\n")
    assert list(table) == ["ours", "late"]
    assert table["late"] == 2
    monkeypatch.setattr("sys.path", [])
    assert list(table) == ["ours"]
