"""The gradients of both players of an adversarial game: in a pass of their own each, or in one that they share.

Any discriminator has the plain way, a backward pass for each loss. One that judges every sample by itself, with one
logit, has one slope per sample, `grad_x D(x_i)`. Its own loss and the student's differ in the number by which each
slope counts, so the student's gradient is the discriminator's with every sample rescaled, and one pass is enough.
(BatchNorm mixes samples, and patches have several slopes each: then there is no such number.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.losses.adversarial import AdversarialLoss

_LEAST = 1e-12
"""By which a logit counts in the discriminator's update at least, so that the slope can be read off it; a hinge, or a
fake rejected with certainty, counts by nothing. A sign is kept: least squares pull some fakes up."""


@dataclass(frozen=True)
class Pulls:
    """The losses of a batch, and how they pull at its logits, `[B]` or `[B, ...]`.

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
        """The generator loss's gradient from the discriminator loss's, both with respect to fakes `[B, ...]`.

        Only of a discriminator with one logit `[B]` per sample, from that sample alone.
        """
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
            logits: of the teacher's and of the student's, `[B, ...]` each, with their graphs.
            fakes: the student's `[B, ...]`, a leaf that requires a gradient and has none yet.
            weights: of the discriminator.
            share: by which the discriminator's loss and the penalty count.
            penalty: added to the discriminator's loss.
            apart: a pass for each loss: where the penalty depends on the fakes too, or the discriminator does not
                judge each sample alone, by one logit.
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
    """How the two losses of a game pull at logits `[B, ...]`, float32."""
    real, fake = logits_real.detach().requires_grad_(), logits_fake.detach().requires_grad_()
    with torch.enable_grad():
        loss, answer = game.discriminator(real, fake), game.generator(real, fake)
    at_real, at_fake = torch.autograd.grad(loss, (real, fake))
    (student,) = torch.autograd.grad(answer, fake)
    least = _LEAST / fake.numel()
    at_fake = torch.where(at_fake.abs() < least, at_fake.new_tensor(least), at_fake)
    return Pulls(loss.detach(), answer.detach(), at_real, at_fake, student / at_fake)
