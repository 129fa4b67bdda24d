"""`advkd train | evaluate | sample | cache gc` with all of their output in S3, and what they refuse."""

import json
from pathlib import Path

import pytest

from advkd.evaluation import EvalReport
from advkd.teachers import EMBEDDED
from advkd.training.checkpoint import saved_checkpoints
from storage import join, list_prefix, read_bytes, write_bytes
from storage.folders import read_contents
from tests.advkd.cli.calls import Cli
from tests.advkd.conftest import write_spec
from tests.advkd.evaluation.parts import gaussian_teacher, make_student


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_train_and_sample(cli: Cli, mixture_store: str, s3_root: str, tmp_path: Path) -> None:
    out, spec = join(s3_root, "run"), join(s3_root, "spec.json")
    write_bytes(spec, write_spec(tmp_path / "spec.json").read_bytes())
    trained = cli("train", "--store", mixture_store, "--out", out, "--spec", spec)
    assert (trained.code, trained.uri) == (0, join(out, "student"))
    assert len(saved_checkpoints(out)) == 2
    sampled = cli("sample", trained.uri, "--n", 4, "--out", join(s3_root, "grid.png"))
    assert (sampled.code, sampled.uri) == (0, join(s3_root, "grid.png"))
    assert read_bytes(sampled.uri).startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "cache" / "scratch").iterdir()] == []


def test_evaluate(cli: Cli, s3_root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    teacher = gaussian_teacher()
    monkeypatch.setitem(EMBEDDED, "one-gaussian", lambda device: teacher)
    make_student(teacher).save_pretrained(tmp_path / "made" / "student")
    student, out = join(s3_root, "run", "student"), join(s3_root, "report")
    for path in (tmp_path / "made" / "student").iterdir():
        write_bytes(join(student, path.name), path.read_bytes())
    given = ("evaluate", "--teacher", "one-gaussian", "--out", out, "--references", s3_root, "--samples", 32)
    for place in (join(s3_root, "run"), student):
        evaluated = cli(*given, place)
        assert (evaluated.code, evaluated.uri) == (0, join(out, "report.html")), evaluated.err
        contents = read_contents(out)
        assert contents is not None
        assert {"metrics.json", "report.html", "strips.png"} <= contents.files.keys()
        assert EvalReport.from_json(read_bytes(join(out, "metrics.json"))).samples == 32
        assert sorted(list_prefix(out)) == sorted([*contents.files, "contents.json"])


def test_gc_finds_what_a_killed_writer_left_below_a_root(cli: Cli, s3_root: str) -> None:
    begun = join(s3_root, "students", "a", "checkpoints", "000000000024")
    write_bytes(join(begun, "unfinished.json"), b'["student.safetensors", "state.json"]')
    write_bytes(join(begun, "student.safetensors"), b"half of it")
    young = cli("cache", "gc", s3_root, "--json")
    assert [one["key"] for one in json.loads(young.out)["stores"][0]["too_young"]] == [
        "student.safetensors",
        "unfinished.json",
    ]
    assert len(list_prefix(begun)) == 2
    removed = cli("cache", "gc", s3_root, "--older-than", "0s")
    assert removed.code == 0
    assert "file of a folder that is not whole" in removed.out
    assert list_prefix(begun) == []


@pytest.mark.parametrize("option", ["STUDENT", "--out", "--references", "--real", "--weights"])
def test_credentials_are_refused(cli: Cli, option: str) -> None:
    given = {"STUDENT": "s", "--teacher": "mixture", "--out": "o", "--references": "r", "--real": "i"}
    given[option] = "s3://me:password@bucket/run"
    student = given.pop("STUDENT")
    refused = cli("evaluate", student, *(word for pair in given.items() for word in pair))
    assert refused.code == 1
    assert "must not hold credentials" in refused.err
    assert "password" not in refused.err
