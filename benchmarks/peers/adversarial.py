"""The adversarial loss alone, on clean images: no pair, no trajectory.

After LADD, Sauer et al. 2024, https://arxiv.org/abs/2403.12015: synthetic images of the teacher are the real ones, a
hinge game with R1. Its discriminator stands on the teacher's features, its student begins as the teacher. Here a forth
and back pass through the teacher takes eight times as long as our discriminator's (`docs/recipe.md`), so the judge is
ours, told of classes.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from advkd.discriminators import DISCRIMINATORS, is_per_sample, takes_classes
from advkd.losses import ADVERSARIAL, gradient_penalty, pulls
from advkd.training.data import TrajectoryBatch
from advkd.training.methods.protocol import autocast
from benchmarks.peers.loop import Descent, learned
from benchmarks.peers.network import seeded
from benchmarks.peers.protocol import Problem, Trained, our_network

GAME = "hinge"
RATE, JUDGING, PENALTY = 3e-3, 1e-3, 0.5
"""Rates of generator and judge, and the weight of R1. With those of our recipe, which has a distillation to hold it,
the generator runs past the colour of a closed-form teacher; with these it stays."""


class Adversarial:
    """A `Learner`: a generator that is our network, and our discriminator."""

    passes = 0

    def __init__(self, problem: Problem) -> None:
        self._recipe = recipe = replace(problem.recipe, learning_rate=RATE)
        self.timesteps = problem.captured(1)
        kind = DISCRIMINATORS[recipe.discriminator.kind]
        self._told = problem.classes is not None and takes_classes(kind)
        with seeded(problem.seed):
            self.network = our_network(problem)
            self._judge = kind(
                recipe.discriminator,
                problem.facts.sample_shape,
                1,
                **({"classes": problem.classes} if self._told else {}),
            ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._descent = Descent(self.network, recipe)
        self._optimizer = torch.optim.Adam(self._judge.parameters(), lr=JUDGING, betas=(0.0, 0.99), fused=True)
        self._steps = 0

    def step(self, batch: TrajectoryBatch, share: float) -> None:
        """See `Learner.step`."""
        self._descent.ready(share)
        self._optimizer.zero_grad(set_to_none=True)
        with autocast(self._recipe, batch.noise):
            fake = self.network(batch.noise, **batch.condition)
        fake.backward(self._toward_real(batch.states[-1], fake.detach().float(), batch).to(fake.dtype))
        self._descent.move()
        self._optimizer.step()
        self._steps += 1

    def student(self, averaged: nn.Module) -> nn.Module:
        """Returns the network itself: it is ours."""
        return averaged

    def _toward_real(self, real: Tensor, fake: Tensor, batch: TrajectoryBatch) -> Tensor:
        """Adds the judge's gradients to its weights; returns the generator's at the fakes."""
        recipe = self._recipe
        penalised = self._steps % recipe.penalty_every == 0
        real, fake = real.detach().requires_grad_(penalised), fake.requires_grad_()
        with autocast(recipe, real, enabled=not penalised):
            logits = (self._logits(real, batch), self._logits(fake, batch))
        pull, penalty = pulls(ADVERSARIAL[GAME], *logits), None
        if penalised:
            penalty = PENALTY * recipe.penalty_every * gradient_penalty(logits[0], real)
        apart = penalised or logits[1].dim() > 1 or not is_per_sample(self._judge)
        return pull.backward(logits, fake, list(self._judge.parameters()), 1.0, penalty, apart=apart)

    def _logits(self, images: Tensor, batch: TrajectoryBatch) -> Tensor:
        told = {"class_labels": batch.condition["class_labels"]} if self._told else {}
        which = torch.zeros(len(images), dtype=torch.int64)
        return self._judge(images, which, **told).float()  # type: ignore[no-any-return]


def train(problem: Problem) -> Trained:
    """Trains a generator of clean images."""
    return learned(problem, Adversarial(problem))
