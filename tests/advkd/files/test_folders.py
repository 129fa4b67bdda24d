import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from advkd.files import whole_folder


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_published_has_the_mode_of_the_umask(umask: int, tmp_path: Path) -> None:
    with whole_folder(tmp_path / "student", "a student") as partial:
        (partial / "decoder").mkdir(mode=0o700)
        # safetensors writes files that their owner alone can read.
        save_file({"weight": torch.zeros(1)}, partial / "decoder" / "weights.safetensors")
        (partial / "config.json").write_text("{}")
    modes = {path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {
        "student": 0o777 & ~umask,
        "student/decoder": 0o777 & ~umask,
        "student/decoder/weights.safetensors": 0o666 & ~umask,
        "student/config.json": 0o666 & ~umask,
    }
