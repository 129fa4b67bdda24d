import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from advkd.evaluation.pictures import image_grid
from advkd.evaluation.report import render_report
from advkd.evaluation.results import worth_sentence
from advkd.evaluation.wording import measured_text
from advkd.evaluation.worth import Worth, worth_passes
from tests.advkd.evaluation.parts import Evaluated


class Page(HTMLParser):
    """Collects tags and their attributes, and checks that they nest."""

    VOID = frozenset({"meta", "img", "source", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def text(evaluated: Evaluated) -> str:
    return (evaluated.folder / "report.html").read_text()


def test_the_page_fetches_nothing_and_runs_nothing(text: str) -> None:
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"(https?:)?//|url\(|@import", re.sub(r"data:image/png;base64,[\w+/=]+", "", text))
    for _, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "srcset", "href"):
            assert value is not None
            assert value.startswith("data:image/png;base64,")


def test_every_picture_in_it_is_whole(text: str) -> None:
    encoded = re.findall(r"data:image/png;base64,([\w+/=]+)", text)
    assert len(encoded) == 4
    for picture in encoded:
        Image.open(io.BytesIO(base64.b64decode(picture))).verify()


def test_every_picture_has_words(text: str) -> None:
    page = Page(text)
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == page.tags.count("img")
    assert all(alts)


def test_the_figures_stand_in_it(text: str, evaluated: Evaluated) -> None:
    report = evaluated.report
    assert f"<h1>{worth_sentence(report.worth, report.not_comparable)}</h1>" in text
    (distances,) = report.distances
    for fact in (report.student_sha256, report.teacher_fingerprint, distances.reference_digest, "FD(digits)"):
        assert fact in text
    assert "Not comparable: 160 images, where a worth needs 2000" in text
    assert report.worth is None
    for solver in ("DDIM", "UniPC", "DPM-Solver++"):
        assert f"<td>{solver}, 5 passes</td>" in text


def test_the_first_paragraph_says_what_was_measured_and_whether_it_is_more_than_noise(evaluated: Evaluated) -> None:
    report = evaluated.report
    text = measured_text(report)
    assert text.startswith(
        "160 images of this student were compared with as many of its teacher gaussian from the same"
    )
    assert "100 steps of UniPC, a fine solution" in text
    assert "so the difference is larger than the noise" in text
    assert "Not comparable: 160 images; below 2000" in text
    (distances,) = report.distances
    noisy = replace(distances.to_teacher.fd, deviation=distances.to_teacher.fd.value)
    quiet = replace(
        report, distances=(replace(distances, to_teacher=replace(distances.to_teacher, fd=noisy)),), samples=2000
    )
    assert "no larger than the noise" in measured_text(quiet)
    assert "the best of the solvers DDIM, UniPC, DPM-Solver++ needs" in measured_text(quiet)
    assert "DDIM alone needs" in measured_text(quiet)
    assert "more than 50 at 2 standard deviations of the distance)" in measured_text(quiet)
    sure = replace(quiet, distances=(replace(distances, worth=Worth(7.0, clamped=False)),))
    low, high = re.search(r"needs 7\.0 passes of the teacher \(([\d.]+) to ([\d.]+) at 2", measured_text(sure)).groups()  # type: ignore[union-attr]
    at = distances.to_teacher.fd.value, 2 * (distances.to_teacher.fd.deviation or 0.0)
    curve = [(point.passes, point.to_target.fd.value) for point in distances.curve]
    assert (float(low), float(high)) == tuple(
        pytest.approx(worth_passes(curve, bound).passes, abs=0.05) for bound in (at[0] + at[1], at[0] - at[1])
    )
    assert float(low) < float(high)
    coarse = replace(distances, target_error=distances.to_teacher.fd.value / 5)
    assert "read it as a bound" in measured_text(replace(report, distances=(coarse,)))
    assert "no more images than features have dimensions" not in text
    few = replace(report, distances=(replace(distances, rank_deficient=True),))
    assert "no more images than features have dimensions" in measured_text(few)
    assert "no distances, so no worth" in measured_text(replace(report, distances=()))


def test_names_cannot_break_the_page(evaluated: Evaluated) -> None:
    from advkd.evaluation.pictures import Pictures

    empty = Pictures(
        samples=b"", student_grid=b"", teacher_grid=b"", strips=b"", clean_strips=b"", curve=b"", curve_dark=b""
    )
    page = render_report(replace(evaluated.report, teacher="<script>alert(1)</script>"), empty)
    assert "script" not in Page(page).tags
    assert "&lt;script&gt;" in page


def test_it_links_to_what_the_student_was_trained_on(evaluated: Evaluated) -> None:
    from advkd.evaluation.pictures import Pictures

    empty = Pictures(
        samples=b"", student_grid=b"", teacher_grid=b"", strips=b"", clean_strips=b"", curve=b"", curve_dark=b""
    )
    page = Page(render_report(evaluated.report, empty, trajectories="http://127.0.0.1:8765/s/0123456789abcdef"))
    assert ("a", "href", "http://127.0.0.1:8765/s/0123456789abcdef") in page.attributes
    assert "a" not in Page(render_report(evaluated.report, empty)).tags


def test_the_headline_is_a_sentence() -> None:
    assert worth_sentence(None).startswith("This student's distance to its teacher was not measured: no extractor")
    assert worth_sentence(None, "64 images") == "Not comparable: 64 images, where a worth needs 2000."
    of_teacher = "of its teacher by the best solver."
    assert worth_sentence(Worth(6.34, clamped=False)) == f"One pass of this student is worth 6.3 passes {of_teacher}"
    assert (
        worth_sentence(Worth(50.0, clamped=True))
        == f"One pass of this student is worth more than 50 passes {of_teacher}"
    )
    assert (
        worth_sentence(Worth(1.0, clamped=True)) == "One pass of this student is worth less than 1 pass of its teacher."
    )


def test_a_grid_holds_its_images_in_order() -> None:
    images = torch.linspace(-1, 1, 10).view(10, 1, 1, 1).expand(10, 1, 8, 8)
    grid = image_grid(images, columns=4)
    tile = 40
    for index in range(10):
        row, column = divmod(index, 4)
        block = grid[row * (tile + 2) :, column * (tile + 2) :][:tile, :tile]
        assert np.unique(block[..., 0]).tolist() == [round((float(images[index, 0, 0, 0]) + 1) * 127.5)]
        assert (block[..., 3] == 255).all()
    assert (grid[2 * (tile + 2) :, 2 * (tile + 2) :] == 0).all()


def test_colour_images_keep_their_colours() -> None:
    image = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert image_grid(image)[0, 0].tolist() == [255, 0, 128, 255]
