"""Faults of extractors: what would make a figure wrong without being noticed."""

from benchmarks.mutant_rows.mutant import Mutant

_PICTURES = "tests/advkd/features/test_pictures.py"
_TEACHER = "tests/advkd/features/test_teacher.py"

FEATURES = (
    Mutant(
        "pixels are cut down and not rounded",
        "advkd/features/pictures.py",
        "((images.float() + 1.0) * 127.5).round()",
        "((images.float() + 1.0) * 127.5).floor()",
        (f"{_PICTURES}::test_whole_numbers_come_back_and_what_lies_outside_is_cut_off",),
    ),
    Mutant(
        "FID's images are resized between half pixels",
        "advkd/features/pictures.py",
        "torch.arange(size, dtype=torch.float32, device=like.device) * torch.tensor(length / size)",
        "(torch.arange(size, dtype=torch.float32, device=like.device) + 0.5) * torch.tensor(length / size)",
        (f"{_PICTURES}::test_tensorflow_s_bilinear_is_that_of_its_kernel",),
    ),
    Mutant(
        "pixels of [0, 255] are taken for images",
        "advkd/features/extractor.py",
        "        require_images(images)\n",
        "",
        (f"{_PICTURES}::test_pixels_are_no_images",),
    ),
    Mutant(
        "images that have the size are resized again",
        "advkd/features/pictures.py",
        "    if tuple(pixels.shape[2:]) == size:\n        return pixels\n",
        "    pixels = pil_resized(pixels, (size[0] - 1, size[1] - 1)) if tuple(pixels.shape[2:]) == size else pixels\n",
        (f"{_PICTURES}::test_what_has_the_size_already_is_not_resized_again",),
    ),
    Mutant(
        "weights are not looked at",
        "advkd/features/weights.py",
        "        if sha256 != self.sha256:\n",
        "        if not sha256:\n",
        ("tests/advkd/features/test_weights.py::test_weights_of_another_sha256_are_refused",),
    ),
    Mutant(
        "the teacher's features do not say at which levels they are",
        "advkd/features/teacher.py",
        '            "levels": LEVELS,\n',
        "",
        (f"{_TEACHER}::test_everything_that_is_stated_is_in_the_sha256",),
    ),
    Mutant(
        "the teacher's features are of states without noise",
        "advkd/teachers/noised.py",
        "    state = signal * clean + sigma * noise\n",
        "    state = signal * clean\n",
        ("tests/advkd/teachers/test_noised.py::test_variance_preserving_ones_are_those_of_training",),
    ),
    Mutant(
        "a shape chooses digits",
        "advkd/features/digits.py",
        "tuple(teacher.space.image_shape) == SHAPE and fingerprint in _fingerprints_of_digits()",
        "tuple(teacher.space.image_shape) == SHAPE",
        ("tests/advkd/features/test_choice.py::test_a_shape_chooses_nothing",),
    ),
)
