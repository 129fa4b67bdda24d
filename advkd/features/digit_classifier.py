"""The digit classifier whose 64-d features FD(digits) is measured in: network, recipe and embedded weights.

`advkd evaluation train-classifier` has written the shipped safetensors.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from advkd.device import torch_threads

FEATURES = 64
WEIGHTS = Path(__file__).parent / "digits_classifier.safetensors"


class DigitClassifier(nn.Module):
    """A plain convolutional network for digits `[B, 1, 16, 16]` in [-1, 1]; 0.06 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, FEATURES, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.logits = nn.Linear(FEATURES, 10)

    def features(self, images: Tensor) -> Tensor:
        """Returns the penultimate activations `[B, 64]`."""
        return self.body(images)  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Returns the class logits `[B, 10]`."""
        return self.logits(self.features(images))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class ClassifierSpec:
    """Settings of the training: epochs over 1438 images (80 %), batch size, learning rate, seed, threads."""

    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class ClassifierEpoch:
    """One epoch: its number, the training loss and the accuracy on the 359 held-out images."""

    epoch: int
    loss: float
    accuracy: float


def train_classifier(spec: ClassifierSpec, out: Path) -> Iterator[ClassifierEpoch]:
    """Trains the classifier, yields the figures of every epoch, and saves safetensors at the end."""
    from advkd.teachers.digits import digit_images, digit_labels

    with torch_threads(spec.threads):
        torch.manual_seed(spec.seed)
        generator = torch.Generator().manual_seed(spec.seed)
        images, labels = digit_images(), digit_labels()
        order = torch.randperm(len(images), generator=generator)
        held, kept = order[: len(order) // 5], order[len(order) // 5 :]
        model = DigitClassifier()
        optimizer = torch.optim.AdamW(model.parameters(), lr=spec.learning_rate, weight_decay=1e-2)
        for epoch in range(spec.epochs):
            total = 0.0
            for batch in kept[torch.randperm(len(kept), generator=generator)].split(spec.batch_size):
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
            with torch.no_grad():
                accuracy = (model(images[held]).argmax(1) == labels[held]).float().mean().item()
            yield ClassifierEpoch(epoch + 1, total / len(kept), accuracy)
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.name}.{os.getpid()}")
        save_file(model.state_dict(), partial)
        partial.replace(out)


def load_classifier(path: Path = WEIGHTS) -> DigitClassifier:
    """Loads the classifier with saved weights, in evaluation mode and without gradients."""
    model = DigitClassifier()
    model.load_state_dict(load_file(path))
    return model.eval().requires_grad_(False)
