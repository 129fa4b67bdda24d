"""ONNX Runtime for browsers: from npm once, from a file or folder, and no other version than the tested one."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from advkd.export import ExportError, ExportSpec, export_student
from advkd.export.web import runtime
from advkd.export.web.runtime import copy_runtime
from tests.advkd.export.onnx.subjects import save_layerwise


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in the place of the real one, and a cache of its own."""
    dist = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    for name in runtime.FILES:
        (dist / name).write_text(f"content of {name}")
    sums = {name: hashlib.sha256(f"content of {name}".encode()).hexdigest() for name in runtime.FILES}
    monkeypatch.setattr(runtime, "FILES", sums)
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    return dist


def packed(dist: Path, out: Path) -> Path:
    with tarfile.open(out, "w:gz") as archive:
        archive.add(dist, "package/dist")
    return out


def npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_make_fetches_the_version_that_pages_take() -> None:
    makefile = (Path(__file__).parents[4] / "Makefile").read_text()
    assert f"onnxruntime-web-{runtime.VERSION}.tgz" in makefile
    assert f"onnxruntime-web@{runtime.VERSION}\n" in makefile


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_it_is_taken_from_a_folder_or_as_npm_packs_it(package: Path, tmp_path: Path, out: Path) -> None:
    for source in (package, package.parent, package.parents[1], packed(package, tmp_path / "a.tgz")):
        copy_runtime(out, str(source))
        assert sorted(path.name for path in out.iterdir()) == sorted(runtime.FILES)
        for path in out.iterdir():
            path.unlink()


def test_npm_fetches_it_once(package: Path, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = packed(package, tmp_path / "a.tgz")
    npm(tmp_path / "bin", f'echo "$@" >> {tmp_path}/asked; cp {source} onnxruntime-web-1.30.0.tgz', monkeypatch)
    copy_runtime(out)
    copy_runtime(out)
    assert (tmp_path / "asked").read_text() == "pack --silent --ignore-scripts onnxruntime-web@1.30.0\n"
    assert (out / "ort.wasm.min.mjs").read_text() == "content of ort.wasm.min.mjs"
    assert sorted(path.name for path in (tmp_path / "cache" / "onnxruntime-web-1.30.0").iterdir()) == sorted(
        runtime.FILES
    )


def test_what_cannot_be_had_is_said_with_the_command(
    package: Path, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm(tmp_path / "bin", "echo no such host >&2; exit 1", monkeypatch)
    with pytest.raises(ExportError, match=r"npm must deliver onnxruntime-web@.*, got no such host; run `npm pack"):
        copy_runtime(out)
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ExportError, match=r"got no npm on this machine; install it, or run `npm .* with --runtime"):
        copy_runtime(out)
    (tmp_path / "half.tgz").write_bytes(packed(package, tmp_path / "a.tgz").read_bytes()[:200])
    for source, said in (
        (tmp_path / "half.tgz", "Error in .*half.tgz; run `npm pack"),
        (tmp_path, "packed or as a folder"),
    ):
        with pytest.raises(ExportError, match=said):
            copy_runtime(out, str(source))
    (package / "ort.wasm.min.mjs").write_text("of another version")
    with pytest.raises(ExportError, match=r"takes onnxruntime-web 1\.30\.0, .* got another ort\.wasm\.min\.mjs"):
        copy_runtime(out, str(package))


def test_a_page_without_its_runtime_is_not_written(package: Path, tmp_path: Path) -> None:
    save_layerwise(tmp_path / "student")
    asked = {"student": str(tmp_path / "student"), "out": str(tmp_path / "page"), "format": "web"}
    with pytest.raises(ExportError, match="must be the npm package"):
        export_student(ExportSpec(**asked, runtime=str(tmp_path)))
    assert not (tmp_path / "page").exists()
    with pytest.raises(ValueError, match="--runtime is for a page, got the format 'onnx'; leave it out"):
        export_student(ExportSpec(**{**asked, "format": "onnx"}, runtime="package.tgz"))
