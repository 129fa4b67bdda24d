"""How far every submodule of a student is from its teacher: errors between states, distances between images.

Strips come in parts, and no part is kept: features are accumulated, and squared errors summed.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from advkd.diffusion import Space, decoded
from advkd.distances import Accumulator
from advkd.evaluation.pictures import Strips
from advkd.evaluation.results import SubmoduleScores
from advkd.evaluation.scores import Metric, frechet_metric
from advkd.features import Extractor, state_features


class Submodules:
    """Gathers what submodules are measured by."""

    def __init__(
        self, timesteps: Sequence[int], space: Space, device: str, teacher: str, extractors: Sequence[Extractor]
    ) -> None:
        """Begins with no strips.

        Args:
            timesteps: the student's grid, the noise's first.
            space: of the states.
            device: where states are decoded.
            teacher: and its steps, as metrics name it.
            extractors: of the distances; none of them, no distances.
        """
        self._space, self._device = space, device
        self._parts = [_Submodule(timestep, teacher, extractors) for timestep in timesteps[1:]]
        self._errors: list[Tensor] = []

    def add(self, strips: Strips) -> None:
        """Takes student and teacher on some more noises."""
        for k, part in enumerate(self._parts):
            part.state.add(self._features, strips.student_states[k], strips.teacher_states[k])
            part.clean.add(self._features, strips.student_clean[k], strips.teacher_clean[k])
        last = (strips.student_clean[-1], strips.teacher_clean[-1])
        ours, theirs = (decoded(self._space, states, self._device).double() for states in last)
        self._errors.append((ours - theirs).square().flatten(1).mean(1).cpu())

    @property
    def squared_errors(self) -> Tensor:
        """Mean squared errors of the last submodule's images, float64 `[N]`."""
        return torch.cat(self._errors)

    def scores(self) -> tuple[SubmoduleScores, ...]:
        """Returns the scores of every submodule; distances are between the images that states are decoded to."""
        return tuple(
            SubmoduleScores(
                timestep=part.timestep,
                fd_state=part.state.distances(),
                fd_clean=part.clean.distances(),
                rmse_state=part.state.rmse(),
                rmse_clean=part.clean.rmse(),
            )
            for part in self._parts
        )

    def _features(self, extractor: Extractor, states: Tensor) -> Tensor:
        return state_features(extractor, self._space, states, self._device)


class _Submodule:
    def __init__(self, timestep: int, teacher: str, extractors: Sequence[Extractor]) -> None:
        self.timestep = timestep
        self.state = _Compared(f"{teacher}, state at {timestep}", extractors)
        self.clean = _Compared(f"{teacher}, clean estimate at {timestep}", extractors)


class _Compared:
    """Student and teacher at one place of the chain."""

    def __init__(self, reference: str, extractors: Sequence[Extractor]) -> None:
        self._reference = reference
        self._sets = [(Accumulator(one.dims), Accumulator(one.dims)) for one in extractors]
        self._extractors = extractors
        self._squares, self._values, self._count = 0.0, 0, 0

    def add(self, features: Callable[[Extractor, Tensor], Tensor], ours: Tensor, theirs: Tensor) -> None:
        for extractor, (student, teacher) in zip(self._extractors, self._sets, strict=True):
            student.add(features(extractor, ours))
            teacher.add(features(extractor, theirs))
        self._squares += (ours.double() - theirs.double()).square().sum().item()
        self._values += ours.numel()
        self._count += len(ours)

    def distances(self) -> tuple[Metric, ...]:
        return tuple(
            frechet_metric(student.finished("student"), teacher.finished(self._reference), extractor)
            for extractor, (student, teacher) in zip(self._extractors, self._sets, strict=True)
        )

    def rmse(self) -> Metric:
        return Metric(
            name="paired RMSE",
            value=(self._squares / self._values) ** 0.5,
            deviation=None,
            n_fake=self._count,
            n_ref=self._count,
            reference=self._reference,
            extractor="pixels",
            extractor_sha256="",
            input="",
        )
