"""What a student computes in an evaluation: its clean states, and those of its submodules beside the teacher's."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from advkd.diffusion import UNCONDITIONAL, Conditions, Start, embedded, implied_clean
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.pictures import Strips
from advkd.students import AnyStudent

BATCH = 256


@torch.no_grad()
def student_states(student: AnyStudent, start: Start, device: str, conditions: Conditions = UNCONDITIONAL) -> Tensor:
    """Returns the student's clean states from one batch of starts, one pass each: float32 `[B, C, H, W]`, CPU.

    Raises:
        EvaluationError: a state holds NaN or infinity.
    """
    moved = start.to(device)
    return _finite(student(moved.noise, **embedded(conditions, moved.condition)).float().cpu().contiguous())


@torch.no_grad()
def student_strips(
    student: AnyStudent, start: Start, trajectory: Tensor, device: str, conditions: Conditions = UNCONDITIONAL
) -> Strips:
    """Returns states, and the clean images that they imply, of student and teacher on the first N starts.

    The teacher's trajectory is `[K + 1, N, C, H, W]`, its first state the noise. A submodule that works at a coarser
    side is compared at that side: by means over boxes, enlarged to the image's side.
    """
    noise = trajectory[0]
    parts = [part.to(device) for part in next(start.split(len(noise))).split(BATCH)]
    batches = [student.predictions(part.noise, **embedded(conditions, part.condition)) for part in parts]
    ours, theirs, our_clean, their_clean = [], [], [], []
    for k, predicted in enumerate(zip(*batches, strict=True)):
        mine = _finite(torch.cat([state.float().cpu() for state in predicted]))
        state, coarse = (
            adaptive_avg_pool2d(full, (mine.shape[-2], mine.shape[-1])) for full in (trajectory[k + 1], noise)
        )
        skip, gain = student.coefficients.skip[k], student.coefficients.gain[k]
        ours.append(_enlarged(mine, noise))
        theirs.append(_enlarged(state, noise))
        our_clean.append(_enlarged(implied_clean(mine, coarse, skip, gain), noise))
        their_clean.append(_enlarged(implied_clean(state, coarse, skip, gain), noise))
    return Strips(
        timesteps=student.timesteps,
        noise=noise,
        teacher_states=torch.stack(theirs),
        student_states=torch.stack(ours),
        teacher_clean=torch.stack(their_clean),
        student_clean=torch.stack(our_clean),
    )


def _enlarged(states: Tensor, like: Tensor) -> Tensor:
    return states if states.shape == like.shape else interpolate(states, size=like.shape[-2:], mode="nearest")


def _finite(samples: Tensor) -> Tensor:
    if not bool(torch.isfinite(samples).all()):
        raise EvaluationError(
            "a student's output must be finite, got NaN or infinity; its training diverged: evaluate an earlier "
            "checkpoint or train again with a lower learning rate"
        )
    return samples
