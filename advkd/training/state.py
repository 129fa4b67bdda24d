"""Everything that a training run carries from step to step; all of it is in a checkpoint."""

from dataclasses import dataclass

import torch
from torch import nn

from advkd.optimizers import Ema
from advkd.students import AnyStudent


@dataclass
class TrainState:
    """Networks, optimizers, average, randomness and clock of one run.

    Attributes:
        student: being trained.
        discriminator: its opponent; a module without weights for a method that has none.
        student_optimizer: of all of the student's weights.
        discriminator_optimizer: of all of the discriminator's; None where it has no weights.
        ema: average of the student's weights.
        generator: of whatever a step draws.
        samples: trajectories seen.
        adversarial_steps: discriminator updates made.
    """

    student: AnyStudent
    discriminator: nn.Module
    student_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer | None
    ema: Ema
    generator: torch.Generator
    samples: int = 0
    adversarial_steps: int = 0
