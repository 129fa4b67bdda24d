"""Extractors by name: none is chosen by a shape, several may be, and a report does without."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import Tensor

from advkd.evaluation.spec import EvaluateSpec, protocols
from advkd.features import FEATURES, FeatureError, FeatureExtractor, InputRule, chosen_features
from advkd.teachers import load_teacher
from advkd.teachers.unet import UNetTeacher
from tests.advkd.evaluation.parts import SHAPE, gaussian_teacher, save_tiny_pipeline


def rows_of(images: Tensor) -> Tensor:
    """A mean for every row of pixels."""
    return images.mean((1, 3))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = FeatureExtractor("rows", "f" * 64, 16, rows_of)
    monkeypatch.setitem(FEATURES._rows, "rows", lambda asked: extractor)


@pytest.mark.parametrize("name", ["digits", "mixture"])
def test_by_itself_digits_serve_the_embedded_teachers(name: str) -> None:
    assert [one.name for one in chosen_features("auto", load_teacher(name))] == ["digits"]


def test_a_copy_of_an_embedded_teacher_is_known_by_its_fingerprint() -> None:
    teacher = load_teacher("digits")
    assert isinstance(teacher, UNetTeacher)
    teacher.name = "another"
    assert [one.name for one in chosen_features("auto", teacher)] == ["digits"]


def test_a_shape_chooses_nothing(tmp_path: Path) -> None:
    """An untrained network of 1x16x16 was compared with digits, and its student became champion."""
    untrained = load_teacher(str(save_tiny_pipeline(tmp_path / "untrained")))
    assert tuple(untrained.space.image_shape) == SHAPE
    assert [one.name for one in chosen_features("auto", untrained)] == ["teacher"]
    measures = protocols(EvaluateSpec(student="", out=""), untrained)
    assert [(name, real) for name, _, real in measures] == [("teacher", "")]


def test_a_teacher_without_a_network_has_no_features_of_its_own() -> None:
    assert chosen_features("auto", gaussian_teacher()) == ()
    with pytest.raises(FeatureError, match=r"reads the network of a teacher, .* got none in 'gaussian'; name another"):
        chosen_features("teacher", gaussian_teacher())


def test_asked_by_name_they_come_in_order(rows: None) -> None:
    assert [one.name for one in chosen_features("rows, digits", gaussian_teacher())] == ["rows", "digits"]
    assert chosen_features("none", load_teacher("digits")) == ()


@pytest.mark.parametrize("features", ["unheard-of", "digits,unheard-of", ""])
def test_an_unknown_name_is_refused_at_once(features: str) -> None:
    with pytest.raises(ValueError, match=r"EvaluateSpec\.features must be one of \[.*'digits'.*'teacher'.*\], got"):
        EvaluateSpec(student="a", out="b", features=features)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other", r"must have the name of its row, got 'other' in row 'a\(b\)'; correct the package"),
        ("a(b)", r"must have names of their own, of letters, .*, got 'a\(b\)'; rename one"),
    ],
)
def test_an_extractor_has_the_name_of_its_row(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES._rows, "a(b)", lambda asked: FeatureExtractor(name, "f" * 64, 16, rows_of))
    with pytest.raises(FeatureError, match=message):
        chosen_features("a(b)", gaussian_teacher())


def test_an_extractor_is_named_once() -> None:
    with pytest.raises(ValueError, match="must name each extractor once, got 'digits, digits'; leave one out"):
        EvaluateSpec(student="a", out="b", features="digits, digits")


def test_digits_on_request_for_any_images_of_their_shape_and_for_no_other() -> None:
    assert [one.name for one in chosen_features("digits", gaussian_teacher())] == ["digits"]
    with pytest.raises(FeatureError, match=r"take the teacher's images, got 'digits' for 1x8x8 of 'gaussian'; name"):
        chosen_features("digits", gaussian_teacher(shape=(1, 8, 8)))


@pytest.mark.parametrize(
    ("channels", "taken"), [(None, (1, 2, 3, 4)), (3, (1, 3)), (1, (1,)), (2, (2,))], ids=["any", "RGB", "grey", "two"]
)
def test_grey_images_are_repeated_for_rgb_and_nothing_else_is_bent(channels: int | None, taken: Sequence[int]) -> None:
    extractor = FeatureExtractor("any", "f" * 64, 3, rows_of, rule=InputRule(channels=channels))
    assert tuple(count for count in (1, 2, 3, 4) if extractor.accepts((count, 8, 8))) == taken


def test_a_rule_is_told_in_words() -> None:
    rule = InputRule(channels=3, size=224, resizing="PIL, bicubic, antialiased", values="(x - 127) / 128 of [0, 255]")
    assert rule.words == (
        "RGB (grey images repeated), 224x224 (PIL, bicubic, antialiased), values (x - 127) / 128 of [0, 255]"
    )
    assert InputRule().words == "images, as large as they are, values [-1, 1] as they are"
