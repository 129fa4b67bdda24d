"""What all teachers with a `UNet2DModel` have in common: class labels, and guidance where a class stands for none."""

import copy
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from advkd.diffusion import conditions_of
from advkd.teachers.base import SolverSpec, derived_fingerprint
from advkd.teachers.class_labels import without_null
from advkd.teachers.errors import TeacherError
from advkd.teachers.guidance import combined, doubled
from advkd.teachers.network import FixedCondition, NetworkTeacher


def memory_format_of(network: Any) -> torch.memory_format:
    """Returns the memory format in which a `UNet2DModel` runs faster, by its shape alone: channels last for most.

    With channels last, torch normalises groups of a single channel so slowly that more is lost than convolutions gain
    (`docs/benchmarks/throughput.md`). The format decides the last bits of states.
    """
    config = network.config
    single = config.block_out_channels[0] <= config.norm_num_groups
    return torch.contiguous_format if single else torch.channels_last


class ClassUNet(NetworkTeacher):
    """A `NetworkTeacher` with a `UNet2DModel`.

    Attributes:
        network: the UNet.
        guidance: scale of classifier-free guidance; 1: none.
        null: number of the class that stands for none, the last one; None: nobody says.
    """

    network: nn.Module
    guidance: float = 1.0
    null: int | None = None

    def predict(self, state: Tensor, time: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """See `NetworkTeacher.predict`."""
        if self.guidance == 1 or self.null is None:
            return self.network(state, time, **condition).sample  # type: ignore[no-any-return]
        both, labels = doubled(state, condition["class_labels"], self.null)
        predicted = self.network(both, time, class_labels=labels).sample
        return combined(predicted, self.guidance, state.shape[1])

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """See `Teacher.solver_config`; with the guidance scale, if any."""
        guidance = {"guidance_scale": self.guidance, "null_class": self.null} if self.guidance > 1 else {}
        return super().solver_config(solver) | guidance

    def null_condition(self) -> FixedCondition:
        """See `NetworkTeacher.null_condition`."""
        null = self.null
        if null is None:
            return super().null_condition()
        return FixedCondition(f"class {null}, which stands for none", lambda: {"class_labels": torch.tensor([null])})

    def with_null(self, null: int) -> Self:
        """Returns the teacher that never draws its last class, as that stands for none; they share the network.

        Raises:
            TeacherError: it is not the last class, or the network has no classes.
        """
        if self.null == null:
            return self
        other = copy.copy(self)
        other.conditions = conditions_of(without_null(self.conditions.facts, null, self.name))
        other.null = null
        return other

    def guided(self, scale: float) -> Self:
        """Returns the teacher under classifier-free guidance of a scale above 1; they share the network.

        Raises:
            TeacherError: nobody says which class stands for none.
        """
        if self.null is None:
            raise TeacherError(
                "guidance of a UNet2DModel must know which of its classes stands for none, which its config does not "
                f"say, got {scale:g} for {self.name!r}; name the last class as in `SOURCE#guidance={scale:g}&null=10`, "
                'or as "null_class": 10 in model_index.json, if the network was trained so'
            )
        other = copy.copy(self)
        other.guidance = scale
        other.unguided = self.fingerprint
        other.fingerprint = derived_fingerprint(self.fingerprint, f"guidance_scale {scale!r} {self.null}")
        return other
