"""The layerwise student with class labels: it begins as the unconditional one, and says what it misses."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from advkd.diffusion import linear_schedule
from advkd.students import LayerwiseStudent, StudentError, load_student
from tests.advkd.teachers.test_teachers import noise_of

SCHEDULE, SHAPE, TIMESTEPS = linear_schedule(), (2, 8, 12), (999, 799, 399, 0)
FIVE = {"kind": "labels", "classes": 5, "distribution": "uniform"}
LABELS = torch.tensor([4, 0, 2])


def student(**changes: Any) -> LayerwiseStudent:
    torch.manual_seed(0)
    return LayerwiseStudent(
        sample_shape=list(SHAPE),
        timesteps=list(TIMESTEPS),
        signal=[SCHEDULE.signal(t) for t in TIMESTEPS],
        sigma=[SCHEDULE.sigma(t) for t in TIMESTEPS],
        **({"width": 8, "blocks": 1} | changes),
    )


def shaken(model: LayerwiseStudent) -> LayerwiseStudent:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return model


def test_it_begins_as_the_unconditional_one_whatever_the_labels() -> None:
    plain, labelled, noise = student(), student(conditioning=FIVE), noise_of(3, SHAPE)
    shared = dict(plain.named_parameters())
    names = [name for name, _ in labelled.named_parameters()]
    assert names[: len(shared)] == list(shared)
    assert all(torch.equal(weight, shared[name]) for name, weight in labelled.named_parameters() if name in shared)
    for mine, theirs in zip(labelled.estimates(noise, LABELS), plain.estimates(noise), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(labelled(noise, class_labels=LABELS), plain(noise))


def test_an_unconditional_student_is_what_it_was(tmp_path: Path) -> None:
    """Weights, draws and config of the revision before class labels."""
    model = student()
    sha = hashlib.sha256()
    for name, weight in model.named_parameters():
        sha.update(name.encode() + weight.detach().contiguous().numpy().tobytes())
    assert sha.hexdigest() == "39b0daa9df838d763dd53a09ae64beb3cdeef6d649a0cfbbe8071defea944898"
    assert torch.rand(1).item() == pytest.approx(0.5009523630142212, abs=0)
    assert "conditioning" not in model.config
    model.save_pretrained(tmp_path)
    assert "conditioning" not in (tmp_path / "config.json").read_text()
    assert load_student(tmp_path).labels is None


def test_each_image_depends_on_its_own_label_from_the_first_submodule_on() -> None:
    model, noise = shaken(student(conditioning=FIVE)), noise_of(3, SHAPE)
    one, other = model.estimates(noise, LABELS), model.estimates(noise, torch.tensor([4, 1, 2]))
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine[[0, 2]], theirs[[0, 2]])
        assert not torch.isclose(mine[1], theirs[1]).all()
    assert torch.equal(model(noise, class_labels=LABELS), one[-1])
    assert torch.equal(model.predictions(noise, class_labels=LABELS)[-1], one[-1])


def test_a_saved_one_gives_identical_output(tmp_path: Path) -> None:
    named = {"kind": "labels", "names": ["a", "b", "c", "d", "e"], "distribution": "uniform"}
    model, noise = shaken(student(conditioning=named)), noise_of(3, SHAPE)
    model.save_pretrained(tmp_path, safe_serialization=True)
    for found in (LayerwiseStudent.from_pretrained(tmp_path), load_student(tmp_path)):
        assert torch.equal(found(noise, class_labels=LABELS), model(noise, class_labels=LABELS))
        assert found.config["conditioning"] == named


def test_samples_take_a_label_for_each_image() -> None:
    model = shaken(student(conditioning=FIVE))
    labels = torch.arange(11) % 5
    whole = model.sample(11, 3, class_labels=labels).images
    assert torch.equal(model.sample(5, 3, class_labels=labels[:5]).images, whole[:5])
    assert not torch.equal(model.sample(11, 3, class_labels=labels.flip(0)).images, whole)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "a student with class labels needs one for each image, got none; give class_labels, of 0 to 4"),
        (torch.tensor([0, 5, 1]), "a label must be one of 0 to 4, got 5; choose one of them"),
        (torch.tensor([0, 1, -1]), "a label must be one of 0 to 4, got -1; choose one of them"),
        (torch.tensor([0, 1]), r"class_labels must be one for each of the 3 images, got \[2\]"),
        (torch.tensor(1), r"class_labels must be one for each of the 3 images, got \[\]"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: torch.Tensor | None, message: str) -> None:
    model, noise = student(conditioning=FIVE), noise_of(3, SHAPE)
    for run in (model, model.estimates, model.predictions):
        with pytest.raises(ValueError, match=message):
            run(noise, class_labels=labels)
    with pytest.raises(ValueError, match=message):
        model.sample(3, class_labels=labels)


def test_an_unconditional_one_takes_no_labels() -> None:
    with pytest.raises(ValueError, match="student takes noise alone, got class_labels; leave them out"):
        student()(noise_of(3, SHAPE), class_labels=LABELS)


def test_conditions_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="class labels must be described by"):
        student(conditioning={"kind": "text"})
    model = student(conditioning=FIVE)
    model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"classes": 5', '"classes": 6'))
    with pytest.raises(StudentError, match="weights must fit its config"):
        load_student(tmp_path)
