"""Draws a grid of a trained student's images."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from advkd.device import torch_device
from advkd.diffusion import Conditions, Labels, Prompts, conditions_of, decoded, drawn_condition, embedded, space_of
from advkd.evaluation import grid_png
from advkd.networks import adopt_embeddings, decoder_places
from advkd.registry import student_folder
from advkd.students import load_student, student_files
from advkd.teachers import load_text_encoder
from storage import write_bytes


def sample_grid(
    place: str,
    n: int,
    seed: int,
    out: str,
    device: str = "cpu",
    runs: str = "runs",
    labels: Sequence[str] = (),
    prompts: Sequence[str] = (),
    text_encoder: str | None = None,
) -> None:
    """Samples a student and writes a PNG of about as many rows as columns, whole or not at all.

    Image i has the noise of sample i in a store with this base seed, and its condition, if any. Labels, where they are
    given, take its place: image i has label i, and they repeat until all images have one; "all" stands for each class.
    So do prompts. Those that the student was trained on need no text encoder; "all" stands for each of them.

    Args:
        place: of the student.
        n: images.
        seed: base seed.
        out: path or URI of the picture.
        device: torch device.
        runs: folder of the registry.
        labels: see above.
        prompts: see above.
        text_encoder: the teacher's pipeline (folder, URI or hub id), for prompts that the student was not trained on;
            None: the hub id that is noted beside the student, if its teacher had one.

    Raises:
        StudentError: the folder holds no usable student.
        ValueError: `n` is below 1, the seed is out of range, this machine lacks the device, there is no such label, the
            student takes none, a prompt needs a text encoder that is not there, or the student's autoencoder or
            embeddings are not beside it.
    """
    folder = student_folder(place, runs)
    student = load_student(folder).to(torch_device(device))
    conditions = conditions_of(student.config.get("conditioning"))
    weights = student_files(folder).weights.parent
    adopt_embeddings(conditions, weights)
    if labels and prompts:
        raise ValueError("a student takes labels or prompts, got --label and --prompt; leave one of them out")
    if labels:
        condition: Mapping[str, Tensor] = _labelled(conditions, labels, n)
    elif prompts:
        condition = _prompted(conditions, prompts, n, text_encoder)
    else:
        condition = embedded(conditions, drawn_condition(conditions, seed, range(n)))
    space = space_of(student.config.get("space"), student.sample_shape, decoder_places(weights))
    images = decoded(space, student.sample(n, seed, **condition).images, student.device)
    write_bytes(out, grid_png(images, columns=math.ceil(math.sqrt(n))))


def _taken(conditions: Conditions) -> str:
    return "noise alone" if conditions.facts is None else repr(conditions.facts.get("kind"))


def _labelled(conditions: Conditions, labels: Sequence[str], count: int) -> dict[str, Tensor]:
    if not isinstance(conditions, Labels):
        raise ValueError(
            f"--label is for a student with class labels, got one that takes {_taken(conditions)}; leave it out"
        )
    asked = [
        number
        for label in labels
        for number in (range(conditions.classes) if label == "all" else [conditions.number(label)])
    ]
    return conditions.tensors([{"label": asked[i % len(asked)]} for i in range(count)])


def _prompted(
    conditions: Conditions, prompts: Sequence[str], count: int, text_encoder: str | None
) -> Mapping[str, Tensor]:
    if not isinstance(conditions, Prompts):
        raise ValueError(
            f"--prompt is for a student with prompts, got one that takes {_taken(conditions)}; leave it out"
        )
    table = conditions.table
    known = list(table.config.prompts)
    asked = [prompt for text in prompts for prompt in (known if text == "all" else [text])]
    each = [asked[i % len(asked)] for i in range(count)]
    place = text_encoder or table.config.origin
    if other := sorted(set(each) - {*known, ""}):
        if not place:
            raise ValueError(
                f"a prompt must be one of the {len(known):,} that the student was trained on, or its text encoder must "
                f"be there, got {other[0][:80]!r}; name the teacher's pipeline with --text-encoder, or take one such "
                f"as {known[0][:80]!r}"
            )
        table.adopt_encoder(load_text_encoder(place, conditions.facts))
    return table.embed(each)
