"""`advkd export` and `advkd demo`: one clear line for every bad input, and nothing left behind."""

from pathlib import Path

import pytest

import advkd.cli.demo
from advkd.cli.page_app import is_page
from tests.advkd.cli.calls import Cli, assert_refused
from tests.advkd.export.onnx.subjects import save_layerwise
from tests.advkd.export.web.conftest import runtime

__all__ = ["runtime"]


def test_what_cannot_be_exported_is_said_in_a_line(cli: Cli, tmp_path: Path) -> None:
    student = save_layerwise(tmp_path / "student")
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    for arguments, said in (
        ((tmp_path / "empty", "--out", out), "a student is a folder with config.json"),
        (
            (tmp_path / "nowhere", "--out", out),
            "a student is a folder with config.json",
        ),
        ((student, "--out", tmp_path / "file" / "out"), "an export must be written whole, got"),
        ((student, "--out", out, "--precision", "int4"), "must be some of fp32, fp16, int8"),
        ((student, "--out", out, "--format", "web", "--runtime", tmp_path / "empty"), "`npm pack onnxruntime-web@"),
        ((student, "--out", out, "--runtime", "a.tgz"), "--runtime is for a page"),
        ((student, "--out", out, "--format", "paper"), "must be one of"),
    ):
        assert_refused(cli("export", *arguments), said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "student"]


def test_a_demo_of_what_is_neither_a_page_nor_a_student_is_refused(cli: Cli, tmp_path: Path) -> None:
    result = cli("demo", tmp_path, "--no-open", "--runtime", tmp_path)
    assert result.code == 1
    assert "error: " in result.err
    assert result.out == ""


@pytest.mark.thorough
@pytest.mark.slow
def test_a_demo_of_a_student_makes_its_page_first(
    cli: Cli, tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_layerwise(tmp_path / "student")
    served: list[bool] = []
    monkeypatch.setattr(advkd.cli.demo, "page_app", lambda folder: served.append(is_page(folder)))
    monkeypatch.setattr(advkd.cli.demo, "serve", lambda app, listener, host, open_browser: served.append(open_browser))
    result = cli("demo", tmp_path / "student", "--no-open", "--runtime", runtime)
    assert (result.code, served) == (0, [True, False]), result.err
