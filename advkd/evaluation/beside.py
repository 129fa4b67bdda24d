"""The teacher's images of the first noises of a seed, which are shown beside those of its student."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from advkd.diffusion import decoded, start_of
from advkd.evaluation.curve import curve_of, passes_per_step, solver_text
from advkd.evaluation.pair import check_pair
from advkd.evaluation.teacher_states import clean_timesteps, teacher_states
from advkd.networks import adopt_embeddings
from advkd.students import AnyStudent
from advkd.teachers import load_teacher
from storage.records import initial_noise


@dataclass(frozen=True, kw_only=True)
class TeacherImages:
    """Images of a teacher.

    Attributes:
        images: `[N, C, H, W]` in [0, 1]; image i is of the noise and the condition of (seed, i).
        name: of the teacher and its solver, such as "digits, 100 passes of UniPC".
        seed: base seed.
    """

    images: Tensor
    name: str
    seed: int


@torch.no_grad()
def teacher_images(
    source: str, student: AnyStudent, *, student_weights: Path, count: int, seed: int = 0
) -> TeacherImages:
    """Makes a teacher's images by a fine solution, that which evaluations compare with.

    Args:
        source: of the teacher, as in `EvaluateSpec`.
        student: its student.
        student_weights: folder of the student's weights, with the embeddings of its prompts, if any.
        count: number of images.
        seed: base seed.

    Raises:
        TeacherError: the teacher cannot be used.
        EvaluationError: the student is none of this teacher, or a state is not finite.
    """
    teacher = load_teacher(source)
    check_pair(student, teacher)
    adopt_embeddings(teacher.conditions, student_weights)
    solver = curve_of(teacher).target
    noise = torch.from_numpy(initial_noise(seed, 0, count, teacher.space.shape))
    start = start_of(noise, teacher.conditions, seed, range(count))
    states = teacher_states(teacher, start, solver, clean_timesteps(teacher, solver))
    images = decoded(teacher.space, states[-1], "cpu")
    passes = passes_per_step(teacher, solver) * solver.steps
    return TeacherImages(
        images=(images / 2 + 0.5).clamp(0, 1),
        name=f"{teacher.name}, {passes} passes of {solver_text(solver.kind)}",
        seed=seed,
    )
