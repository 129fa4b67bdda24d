"""`advkd evaluation statistics`, as typed: what it writes is read by pytorch-fid, and by `--real`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advkd.evaluation import EvaluateSpec, protocols
from advkd.features import digits_extractor
from advkd.teachers import load_teacher
from advkd.teachers.digits import digit_images
from tests.advkd.conftest import Cli

pytestmark = pytest.mark.thorough


def test_statistics_of_real_images_are_written_and_read(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "digits.npz"
    written = cli(
        "evaluation", "statistics", "digits", "--teacher", "mixture", "--out", out, "--root", tmp_path, "--json"
    )
    assert written.code == 0, written.err
    told = json.loads(written.out)
    assert (told["uri"], told["images"], told["extractor"]) == (str(out), 1797, "digits")
    features = digits_extractor()(digit_images()).double().numpy()
    with np.load(out) as file:
        np.testing.assert_allclose(file["mu"], features.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(file["sigma"], np.cov(features, rowvar=False), rtol=1e-4, atol=1e-6)
    spec = EvaluateSpec(student="", out="", teacher="mixture", real=str(out))
    assert len(protocols(spec, load_teacher("mixture"))[0][2]) == 64


def test_statistics_are_of_one_extractor(cli: Cli, tmp_path: Path) -> None:
    out = ("--teacher", "mixture", "--out", tmp_path / "s.npz")
    refused = cli("evaluation", "statistics", "digits", *out, "--features", "none")
    assert refused.code == 1
    assert "statistics are of one extractor's features, got 0 by 'none'; name one" in refused.err
    assert not (tmp_path / "s.npz").exists()


def test_bad_pictures_are_left_out_on_request(cli: Cli, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.new("L", (16, 16), 80 * number).save(pictures / f"{number}.png")
    (pictures / "words.png").write_bytes(b"these are words")
    asked = ("evaluation", "statistics", pictures, "--teacher", "mixture", "--out", tmp_path / "s.npz", "--json")
    refused = cli(*asked, "--root", tmp_path)
    assert refused.code == 1
    assert "1 of 4 that cannot (1 corrupt)" in refused.err
    assert "--skip-bad" in refused.err
    assert json.loads(cli(*asked, "--root", tmp_path, "--skip-bad").out)["images"] == 3
