"""ONNX Runtime for browsers: files of its npm package, of one version, checked by their sha256.

They come from npm's own client, once per machine, or from a file or folder that somebody fetched elsewhere.
"""

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from advkd.export.requests import ExportError
from advkd.files import whole_folder
from storage.reading import default_cache_folder

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
FILES: Mapping[str, str] = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
"""Files of the package's `dist/` that the page loads, and their sha256: first those without WebGPU."""
FETCH = f"npm pack {PACKAGE}@{VERSION}"
_SECONDS = 600


def copy_runtime(out: Path, source: str | None = None) -> None:
    """Copies the files into a folder.

    Args:
        out: an existing local folder.
        source: the package as npm packs it (`.tgz`), its folder, or a `node_modules`; None: the copy in this machine's
            cache, which npm fetches if there is none.

    Raises:
        ExportError: there is no npm, it does not deliver the package, or files are missing or of another version.
        OSError: they cannot be written.
    """
    folder = _cached() if source is None else Path(source)
    if folder.is_file():
        _unpack(folder, out)
    else:
        places = (folder / PACKAGE / "dist", folder / "dist", folder)
        dist = next((place for place in places if all((place / name).is_file() for name in FILES)), None)
        if dist is None:
            raise ExportError(
                f"--runtime must be the npm package {PACKAGE}@{VERSION}, packed or as a folder, got {source}; run "
                f"`{FETCH}` where npm is, and give the file"
            )
        for name in FILES:
            shutil.copyfile(dist / name, out / name)
    _check(out, source)


def _cached() -> Path:
    folder = Path(default_cache_folder()).expanduser() / f"{PACKAGE}-{VERSION}"
    if folder.is_dir():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise ExportError(
            f"a page needs ONNX Runtime for browsers, which npm fetches, got no npm on this machine; install it, or "
            f"run `{FETCH}` elsewhere and give the file with --runtime"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder, "ONNX Runtime for browsers") as partial:
        done = subprocess.run(
            [npm, "pack", "--silent", "--ignore-scripts", f"{PACKAGE}@{VERSION}"],
            cwd=partial,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        packed = next(partial.glob("*.tgz"), None)
        if done.returncode or packed is None:
            said = " ".join(done.stderr.split())[:200] or f"exit code {done.returncode}"
            raise ExportError(
                f"npm must deliver {PACKAGE}@{VERSION}, got {said}; run `{FETCH}` where the registry is reached, and "
                "give the file with --runtime"
            )
        _unpack(packed, partial)
        packed.unlink()
        _check(partial, None)
    return folder


def _unpack(packed: Path, out: Path) -> None:
    try:
        with tarfile.open(packed) as archive:
            for name in FILES:
                member = archive.extractfile(f"package/dist/{name}")
                if member is None:
                    raise KeyError(name)
                with member, (out / name).open("wb") as file:
                    shutil.copyfileobj(member, file)
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise ExportError(
            f"--runtime must be the npm package {PACKAGE}@{VERSION}, got {type(error).__name__} in {packed}; run "
            f"`{FETCH}` again"
        ) from error


def _check(out: Path, source: str | None) -> None:
    for name, sha256 in FILES.items():
        got = hashlib.sha256((out / name).read_bytes()).hexdigest()
        if got != sha256:
            raise ExportError(
                f"a page takes {PACKAGE} {VERSION}, with which it is tested, got another {name} (sha256 {got[:12]}) "
                f"from {source or 'the cache'}; run `{FETCH}` and give the file with --runtime"
            )
