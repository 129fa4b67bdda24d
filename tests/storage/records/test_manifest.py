"""What is said of a manifest that cannot be read, where there is nothing to repair."""

from pathlib import Path

import pytest

from storage.errors import ManifestError
from storage.records.manifest import read_manifest


def test_below_a_link_to_itself_nothing_is_to_be_repaired(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    said = rf"^{loop}/manifest\.json cannot be read: Too many levels of symbolic links; check the path and the disk$"
    with pytest.raises(ManifestError, match=said):
        read_manifest(str(loop))
