"""The report's section on training: there with a record, absent without one."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advkd.evaluation.evaluation import evaluate
from advkd.evaluation.training_curves import read_observations, training_png, training_sentence
from advkd.training.observation import Observation, observations_to_json
from tests.advkd.evaluation.parts import Evaluated
from tests.advkd.evaluation.test_report import Page
from tests.advkd.training.test_monitors import observation, submodule


def game(samples: int, margin: float | None) -> Observation:
    parts = [submodule(timestep=t, margin=margin, spread=0.8 + t / 5000) for t in (749, 499, 249, 0)]
    return observation(*parts, samples=samples, discriminator_gradient=None if margin is None else 0.5)


RECORD = (game(1000, None), game(2000, None), game(3000, 0.1), game(4000, 0.7))


@pytest.mark.thorough
def test_the_report_has_the_section_where_there_is_a_record(evaluated: Evaluated, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(evaluated.folder.parent / "run", run)
    (run / "student" / "monitors.json").write_text(observations_to_json(RECORD))
    spec = replace(evaluated.spec, student=str(run), out=str(tmp_path / "report"))
    with_record = evaluate(spec)
    text = (tmp_path / "report" / "report.html").read_text()
    Page(text)
    assert f"<h2>Training</h2>\n<p>{training_sentence(RECORD)}</p>".replace("'", "&#39;") in text
    assert text.count("data:image/png;base64,") == 6
    with Image.open(tmp_path / "report" / "training.png") as picture:
        assert min(picture.size) > 700
    assert with_record.student_sha256 == evaluated.report.student_sha256
    (run / "student" / "monitors.json").unlink()
    evaluate(spec)
    assert not (tmp_path / "report" / "training.png").exists()
    assert "<h2>Training</h2>" not in (tmp_path / "report" / "report.html").read_text()


def test_there_is_no_section_without_a_record(evaluated: Evaluated) -> None:
    assert "Training</h2>" not in (evaluated.folder / "report.html").read_text()
    assert not (evaluated.folder / "training.png").exists()


def test_a_record_of_another_version_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "monitors.json").write_text('[{"samples": 1}]')
    assert read_observations(tmp_path) == ()
    assert "must hold the observations of a training run" in caplog.text


@pytest.mark.thorough
@pytest.mark.parametrize(
    "record",
    [RECORD, RECORD[:1], RECORD[2:3], (observation(submodule(spread=None)),), (observation(), *RECORD)],
    ids=["both phases", "one before the game", "one in it", "single images", "more submodules later"],
)
def test_every_record_can_be_drawn(record: tuple[Observation, ...]) -> None:
    for dark in (False, True):
        with Image.open(io.BytesIO(training_png(record, dark=dark))) as picture:
            assert np.asarray(picture)[..., 3].any()
    assert training_sentence(record).startswith(f"After {record[-1].samples:,} samples")


def test_the_sentence_says_what_was_seen_last() -> None:
    assert training_sentence(RECORD) == (
        "After 4,000 samples (4 observations) the last submodule's images have a standard deviation of 0.90 (teacher "
        "0.33), are 0.80 times as far apart as the teacher's and stand 0.70 logits below them for the discriminator; "
        "the noise it was given has a standard deviation of 1.00 (sampling: 1)."
    )
    assert training_sentence(RECORD[:1]).startswith("After 1,000 samples (1 observation) the last submodule's images")
