"""What the package ships for the digits: data, teacher, classifier, and the commands that make them anew."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import DiTPipeline

from advkd.diffusion import Start, solver_grid
from advkd.evaluation.fidelity import images_read
from advkd.evaluation.teacher_states import clean_timesteps, evaluation_start, teacher_states
from advkd.features import digits_extractor, state_features
from advkd.features.digit_classifier import FEATURES, ClassifierSpec, load_classifier, train_classifier
from advkd.teachers import DIGITS_CLASSES_FOLDER, DIGITS_FOLDER, SolverSpec, load_teacher
from advkd.teachers.digits.data import SHAPE, digit_images, digit_labels
from advkd.teachers.digits.recipe import build_unet
from advkd.teachers.digits.recipe import train as train_digits
from advkd.teachers.digits_classes.autoencoder import LATENT_SHAPE
from advkd.teachers.digits_classes.recipe import build_transformer
from advkd.teachers.digits_classes.recipe import train as train_digits_classes
from advkd.teachers.training import TeacherTraining
from storage.records.seeding import initial_noise


def test_digits_are_images_in_range() -> None:
    images, labels = digit_images(), digit_labels()
    assert images.shape == (1797, *SHAPE)
    assert (images.min(), images.max()) == (-1.0, 1.0)
    assert labels.shape == (1797,)
    assert sorted(set(labels.tolist())) == list(range(10))


def test_the_embedded_teacher_is_small_and_its_own_recipe() -> None:
    assert sum(path.stat().st_size for path in DIGITS_FOLDER.rglob("*.safetensors")) < 3 * 2**20
    teacher = load_teacher("digits")
    assert (teacher.name, teacher.space.shape) == ("digits", SHAPE)
    shapes = {name: value.shape for name, value in build_unet().state_dict().items()}
    assert {name: value.shape for name, value in teacher.network.state_dict().items()} == shapes


@pytest.mark.thorough
def test_the_embedded_teacher_draws_digits_that_the_classifier_recognises() -> None:
    teacher, classifier = load_teacher("digits"), load_classifier()
    noise = torch.from_numpy(initial_noise(11, 0, 64, SHAPE))
    *_, images = teacher.states(Start(noise), SolverSpec(steps=10), (solver_grid(1000, 10)[0], 0))
    assert -1.6 < images.min() < -0.9
    assert 0.9 < images.max() < 1.6
    probabilities = classifier(images).softmax(1)
    assert probabilities.amax(1).mean() > 0.85
    assert len(set(probabilities.argmax(1).tolist())) >= 8


def test_the_embedded_teacher_of_classes_is_small_and_its_own_recipe() -> None:
    assert sum(path.stat().st_size for path in DIGITS_CLASSES_FOLDER.rglob("*.safetensors")) < 3 * 2**20
    teacher = load_teacher("digits-classes")
    assert (teacher.space.shape, teacher.space.image_shape) == (LATENT_SHAPE, SHAPE)
    assert teacher.conditions.facts == {"kind": "labels", "names": list("0123456789"), "distribution": "uniform"}
    shapes = {name: value.shape for name, value in build_transformer().state_dict().items()}
    assert {name: value.shape for name, value in teacher.network.state_dict().items()} == shapes
    named = json.loads((DIGITS_CLASSES_FOLDER / "scheduler" / "scheduler_config.json").read_text())["prediction_type"]
    assert named == "v_prediction"


@pytest.mark.thorough
def test_the_embedded_teacher_of_classes_draws_the_digit_that_it_is_asked_for() -> None:
    teacher, extractor = load_teacher("digits-classes#guidance=1.5"), digits_extractor()
    start = evaluation_start(teacher, 11, 128)
    solver = SolverSpec(kind="unipc", steps=10)
    states = teacher_states(teacher, start, solver, clean_timesteps(teacher, solver))[-1]
    features = state_features(extractor, teacher.space, states, "cpu")
    read = images_read(extractor, features, teacher.conditions, start.condition["class_labels"])
    assert read.double().mean() > 0.97


def test_diffusers_own_pipeline_runs_the_embedded_teacher_of_classes() -> None:
    pipe = DiTPipeline.from_pretrained(DIGITS_CLASSES_FOLDER)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.get_label_ids(["7"]) == [7]
    generator = torch.Generator().manual_seed(0)
    # Its guidance takes class 1000 for none, as ImageNet's transformers have it.
    images = pipe([7] * 8, guidance_scale=1.0, num_inference_steps=10, generator=generator, output_type="np").images
    # Its pictures have values in [0, 1], channels last.
    seen = torch.from_numpy(images).permute(0, 3, 1, 2)[:, :1] * 2 - 1
    assert (load_classifier()(seen.float()).argmax(1) == 7).sum() >= 7


@pytest.mark.thorough
def test_training_the_teacher_of_classes_is_reproducible_and_saves_a_usable_pipeline(tmp_path: Path) -> None:
    spec = TeacherTraining(images=48, batch_size=16)
    runs = [list(train_digits_classes(spec, tmp_path / name)) for name in ("one", "two")]
    assert runs[0] == runs[1]
    assert [(step.part, step.images) for step in runs[0]] == [
        ("vae", 16),
        ("transformer", 16),
        ("transformer", 32),
        ("transformer", 48),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    teachers = [load_teacher(str(tmp_path / name)) for name in ("one", "two")]
    assert teachers[0].fingerprint == teachers[1].fingerprint


def test_the_embedded_classifier_knows_the_digits() -> None:
    classifier, images, labels = load_classifier(), digit_images(), digit_labels()
    assert (classifier(images).argmax(1) == labels).float().mean() > 0.97
    assert classifier.features(images[:3]).shape == (3, FEATURES)
    assert not any(weight.requires_grad for weight in classifier.parameters())


@pytest.mark.thorough
def test_training_the_classifier_is_reproducible_and_writes_whole_files(tmp_path: Path) -> None:
    spec = ClassifierSpec(epochs=1)
    files = [tmp_path / "new" / name for name in ("one.safetensors", "two.safetensors")]
    epochs = [list(train_classifier(spec, file)) for file in files]
    assert epochs[0] == epochs[1]
    assert epochs[0][0].accuracy > 0.2
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["one.safetensors", "two.safetensors"]
    load_classifier(files[0])


@pytest.mark.thorough
def test_training_the_teacher_is_reproducible_and_saves_a_usable_pipeline(tmp_path: Path) -> None:
    spec = TeacherTraining(images=12, batch_size=4)
    runs = [list(train_digits(spec, tmp_path / name)) for name in ("one", "two")]
    assert runs[0] == runs[1]
    assert [step.images for step in runs[0]] == [4, 8, 12]
    teachers = [load_teacher(str(tmp_path / name)) for name in ("one", "two")]
    assert teachers[0].fingerprint == teachers[1].fingerprint


@pytest.mark.parametrize(("images", "batch_size"), [(0, 128), (10, 16), (10, 0), (-5, -5)])
def test_teacher_recipe_refuses_impossible_counts(images: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="images must be at least batch_size"):
        TeacherTraining(images=images, batch_size=batch_size)
