"""Gradients of both losses of an adversarial game in one backward pass through the discriminator (docs/method.md 4.3).

A discriminator that judges each sample by itself has one slope per sample, `grad_x D(x_i)`. Each loss multiplies this
slope by its own derivative with respect to the logit. So the student's gradient is the discriminator's, rescaled sample
by sample. BatchNorm in a discriminator mixes samples: then no such factor exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.losses.adversarial import AdversarialLoss

_LEAST = 1e-12
"""Smallest derivative of the discriminator's loss with respect to a fake's logit, so that it can be divided by. A
hinge, or a fake that is rejected with certainty, has the derivative 0."""


@dataclass(frozen=True)
class Pulls:
    """The two losses of a batch, and their derivatives with respect to its logits `[B]`.

    Attributes:
        discriminator_loss: a scalar without a graph.
        generator_loss: a scalar without a graph.
        real: derivative of the discriminator's loss with respect to the logits of the teacher's images.
        fake: derivative of the discriminator's loss with respect to the logits of the student's images.
        student: derivative of the generator's loss with respect to the logits of the student's images, over `fake`.
    """

    discriminator_loss: Tensor
    generator_loss: Tensor
    real: Tensor
    fake: Tensor
    student: Tensor

    def toward_real(self, gradient: Tensor) -> Tensor:
        """Turns the discriminator loss's gradient into the generator loss's, both with respect to fakes `[B, ...]`."""
        return gradient * self.student.view(-1, *[1] * (gradient.dim() - 1))

    def backward(
        self,
        logits: tuple[Tensor, Tensor],
        fakes: Tensor,
        weights: Sequence[Tensor],
        share: float = 1.0,
        penalty: Tensor | None = None,
        *,
        apart: bool = False,
    ) -> Tensor:
        """Adds the discriminator loss's gradients to `weights`; returns the generator loss's gradient at the fakes.

        Args:
            logits: of the teacher's and of the student's images, `[B]` each, with their graphs.
            fakes: the student's images `[B, ...]`, a leaf that requires a gradient and has none yet.
            weights: the discriminator's parameters.
            share: factor of the discriminator's loss and the penalty.
            penalty: a scalar that is added to the discriminator's loss.
            apart: whether to run a second pass for the generator. Needed if the penalty depends on the fakes, or if
                the discriminator mixes samples.
        """
        roots, seeds = [*logits], [self.real, self.fake]
        if penalty is not None:
            roots.append(penalty)
            seeds.append(torch.ones_like(penalty))
        seeds = [share * seed for seed in seeds]
        if apart:
            (toward_real,) = torch.autograd.grad(logits[1], fakes, self.fake * self.student, retain_graph=True)
            torch.autograd.backward(roots, seeds, inputs=weights)
            return toward_real
        torch.autograd.backward(roots, seeds, inputs=[*weights, fakes])
        assert fakes.grad is not None
        return self.toward_real(fakes.grad / share)


def pulls(game: AdversarialLoss, logits_real: Tensor, logits_fake: Tensor) -> Pulls:
    """Computes the two losses of a game and their derivatives with respect to the logits `[B]`, in float32."""
    real, fake = logits_real.detach().requires_grad_(), logits_fake.detach().requires_grad_()
    with torch.enable_grad():
        loss, answer = game.discriminator(real, fake), game.generator(real, fake)
    at_real, at_fake = torch.autograd.grad(loss, (real, fake))
    (student,) = torch.autograd.grad(answer, fake)
    # Every discriminator wants the student's logits lower, so this derivative is not negative.
    at_fake = at_fake.clamp_min(_LEAST / len(fake))
    return Pulls(loss.detach(), answer.detach(), at_real, at_fake, student / at_fake)
