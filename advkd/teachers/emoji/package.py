"""The npm package with the pictures of `emoji`: one version, known by its hash; a file that is there, or a download.

`emoji-datasource-google` (MIT, https://github.com/iamcal/emoji-data) holds Noto's PNGs of 64x64 (Apache-2.0; the flags
are in the public domain or exempt from copyright) and Unicode's groups of them.
"""

import hashlib
import os
from pathlib import Path
from urllib.request import urlopen

from advkd.files import file_sha256
from storage.reading import default_cache_folder

PACKAGE = "emoji-datasource-google-16.0.0.tgz"
PACKAGE_URL = f"https://registry.npmjs.org/emoji-datasource-google/-/{PACKAGE}"
PACKAGE_SHA256 = "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"
_TIMEOUT_SECONDS = 60


def emoji_package(file: Path | None) -> Path:
    """Returns the checked package: `file`, or the copy in the cache, which is downloaded once if `file` is None.

    Raises:
        ValueError: there is no such file, or what was given or downloaded is not the package.
        ConnectionError: the registry could not deliver it.
    """
    if file is not None:
        if not file.is_file():
            raise ValueError(
                f"the pictures of emoji must be the file {PACKAGE}, got {file}, which does not exist; fetch "
                f"{PACKAGE_URL}, or leave --data out to have it downloaded"
            )
        _check(file_sha256(file), file)
        return file
    copy = Path(default_cache_folder()) / "packages" / PACKAGE
    if copy.is_file() and file_sha256(copy) == PACKAGE_SHA256:
        return copy
    return _downloaded(copy)


def _downloaded(copy: Path) -> Path:
    try:
        with urlopen(PACKAGE_URL, timeout=_TIMEOUT_SECONDS) as response:
            content = response.read()
    except OSError as error:
        raise ConnectionError(
            f"the pictures of emoji must be downloaded once, got {error} from {PACKAGE_URL}; try again, or fetch the "
            "file elsewhere and name it: --data FILE"
        ) from error
    _check(hashlib.sha256(content).hexdigest(), PACKAGE_URL)
    copy.parent.mkdir(parents=True, exist_ok=True)
    partial = copy.with_name(f".{copy.name}.{os.getpid()}")
    partial.write_bytes(content)
    return partial.replace(copy)


def _check(sha256: str, where: Path | str) -> None:
    if sha256 != PACKAGE_SHA256:
        raise ValueError(
            f"the pictures of emoji must be {PACKAGE} with sha256 {PACKAGE_SHA256[:12]}, got {sha256[:12]} for "
            f"{where}; fetch {PACKAGE_URL} again"
        )
