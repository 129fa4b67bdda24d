"""Classifier-free guidance: Ho and Salimans 2022 (https://arxiv.org/abs/2207.12598).

A guided teacher is another teacher, with states of its own, so its fingerprint is another too. The scale is diffusers':
1 is no guidance.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from advkd.teachers.base import Teacher
from advkd.teachers.errors import TeacherError


@runtime_checkable
class GuidedTeacher(Protocol):
    """A teacher whose network was also trained without conditions, or takes a scale of guidance."""

    def guided(self, scale: float) -> Teacher:
        """Returns the teacher under a guidance scale above 1; they share the network."""


def guided(teacher: Teacher, scale: float | None) -> Teacher:
    """Returns a teacher under a guidance scale; None and 1 mean the teacher as it is.

    Raises:
        TeacherError: the teacher knows no guidance.
    """
    if scale is None:
        return teacher
    if not isinstance(teacher, GuidedTeacher):
        raise TeacherError(
            "guidance is for teachers that were also trained without a class (DiTPipeline, or a UNet2DModel with a "
            f"null class) or prompt, got {scale:g} for {teacher.name!r}; leave it out"
        )
    return teacher if scale == 1 else teacher.guided(scale)


def towards(free: Tensor, told: Tensor, scale: float) -> Tensor:
    """Returns the guided prediction, from the one without and the one with a condition; all `[B, C, H, W]`."""
    # Ho and Salimans 2022, Eq. 6, with w = scale - 1.
    return free + scale * (told - free)


def doubled(state: Tensor, labels: Tensor, null: int) -> tuple[Tensor, Tensor]:
    """Returns one batch of both halves: states with their classes, and the same states with none."""
    return torch.cat([state, state]), torch.cat([labels, torch.full_like(labels, null)])


def combined(predicted: Tensor, scale: float, channels: int) -> Tensor:
    """Returns the guided prediction of both halves; channels beyond the state's, a variance, are the conditional's."""
    conditional, unconditional = predicted.chunk(2)
    with_class, free = conditional[:, :channels], unconditional[:, :channels]
    return torch.cat([towards(free, with_class, scale), conditional[:, channels:]], dim=1)
