from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from advkd.teachers.training import TeacherStep, TeacherTraining, checkpoint_of, train_network

SPEC = TeacherTraining(images=96, batch_size=8, checkpoint_every=16)


def training(out: Path, spec: TeacherTraining = SPEC) -> Iterator[TeacherStep]:
    torch.manual_seed(0)
    network = nn.Linear(4, 4)

    def loss(generator: torch.Generator) -> torch.Tensor:
        images = torch.randn((spec.batch_size, 4), generator=generator)
        return nn.functional.mse_loss(network(images), images.flip(1))

    weights = yield from train_network("part", network, loss, spec, out)
    torch.save(weights, out)


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = list(training(tmp_path / "whole"))
    parts = list(islice(training(tmp_path / "parts"), 5))
    assert checkpoint_of(tmp_path / "parts", "part").is_file()
    resumed = list(training(tmp_path / "parts"))
    # The checkpoint after four steps of five.
    assert parts[:4] + resumed == whole
    ours, theirs = (torch.load(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    list(islice(training(tmp_path / "out"), 3))
    with pytest.raises(ValueError, match="must go on as it began"):
        next(training(tmp_path / "out", TeacherTraining(images=96, batch_size=8, checkpoint_every=16, seed=1)))


def test_the_average_follows_the_weights(tmp_path: Path) -> None:
    losses = [
        step.loss
        for step in training(tmp_path / "out", TeacherTraining(images=40_000, batch_size=32, learning_rate=0.05))
    ]
    weights = torch.load(tmp_path / "out")
    assert losses[-1] < 0.01 * losses[0]
    assert torch.allclose(weights["weight"], torch.eye(4).flip(0), atol=0.05)


def test_steps_name_their_part_and_its_end(tmp_path: Path) -> None:
    steps = list(training(tmp_path / "out"))
    assert {(step.part, step.of) for step in steps} == {("part", 96)}
    assert [step.images for step in steps] == list(range(8, 97, 8))


def test_an_interrupted_training_of_channels_last_weights_ends_as_one_that_was_not(tmp_path: Path) -> None:
    def convolved(out: Path) -> Iterator[TeacherStep]:
        torch.manual_seed(0)
        network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)

        def loss(generator: torch.Generator) -> torch.Tensor:
            images = torch.randn((8, 3, 5, 5), generator=generator)
            return nn.functional.mse_loss(network(images), images[:, :1, 1:-1, 1:-1].expand(-1, 4, -1, -1))

        yield from train_network("part", network, loss, SPEC, out)

    whole = list(convolved(tmp_path / "whole"))
    parts = list(islice(convolved(tmp_path / "parts"), 5))
    assert parts[:4] + list(convolved(tmp_path / "parts")) == whole
