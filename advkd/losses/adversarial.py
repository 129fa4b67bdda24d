"""Adversarial losses: free functions on the discriminator's logits, each returning a scalar.

Logits are `[B]`, or `[B, ...]` with one for every patch: every loss is a mean over all of them. The two sides of a
game, `discriminator(real, fake)` and `generator(real, fake)`, stand together in the table `ADVERSARIAL`.
Sources: relativistic pairing (Jolicoeur-Martineau 2018, https://arxiv.org/abs/1807.00734, as in R3GAN, Huang et al.
2024, https://arxiv.org/abs/2501.05441), non-saturating (Goodfellow et al. 2014), hinge (Lim & Ye 2017), WGAN
(Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus

from storage.tables import Table


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """`E softplus(D(fake) - D(real))`; each fake is paired with the teacher's image of the same noise."""
    # R3GAN Eq. 2 with f(t) = -log(1 + exp(-t))
    return softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """`E softplus(D(real) - D(fake))`: the discriminator's loss with the roles exchanged."""
    return softplus(real - fake).mean()


def non_saturating_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """`E softplus(-D(real)) + E softplus(D(fake))`."""
    return softplus(-real).mean() + softplus(fake).mean()


def non_saturating_generator(real: Tensor, fake: Tensor) -> Tensor:
    """`E softplus(-D(fake))`."""
    return softplus(-fake).mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """`E max(0, 1 - D(real)) + E max(0, 1 + D(fake))`."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def hinge_generator(real: Tensor, fake: Tensor) -> Tensor:
    """`-E D(fake)`; WGAN uses the same."""
    return -fake.mean()


def wgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """`E D(fake) - E D(real)`, at best minus the Wasserstein distance if D is 1-Lipschitz, so it needs a penalty."""
    return fake.mean() - real.mean()


@dataclass(frozen=True)
class AdversarialLoss:
    """The two losses of one adversarial game, each from logits `(real, fake)` to a scalar."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]


ADVERSARIAL: Table[AdversarialLoss] = Table(
    "advkd.losses",
    "an adversarial loss",
    {
        "relativistic": AdversarialLoss(relativistic_discriminator, relativistic_generator),
        "non-saturating": AdversarialLoss(non_saturating_discriminator, non_saturating_generator),
        "hinge": AdversarialLoss(hinge_discriminator, hinge_generator),
        "wgan": AdversarialLoss(wgan_discriminator, hinge_generator),
    },
)
