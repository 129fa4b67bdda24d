"""The state that a training run carries from step to step; a checkpoint holds all of it."""

from dataclasses import dataclass

import torch
from torch import nn

from advkd.optimizers import Ema
from advkd.students import AnyStudent


@dataclass
class TrainState:
    """Networks, optimizers, average, randomness and clock of one run.

    Attributes:
        student: the network in training.
        discriminator: the student's opponent; a module without weights if the method has none.
        student_optimizer: optimizer of all of the student's weights.
        discriminator_optimizer: optimizer of all of the discriminator's weights; None if it has none.
        ema: average of the student's weights.
        generator: random generator of everything that a step draws.
        samples: trajectories seen.
        adversarial_steps: number of discriminator updates.
    """

    student: AnyStudent
    discriminator: nn.Module
    student_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer | None
    ema: Ema
    generator: torch.Generator
    samples: int = 0
    adversarial_steps: int = 0
