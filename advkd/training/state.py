"""Everything that a training run carries from step to step; all of it is in a checkpoint."""

import torch
from torch import nn

from advkd.device import torch_device
from advkd.discriminators import ProjectionDiscriminator
from advkd.schedule import SkipCoefficients
from advkd.students import LayerwiseStudent
from advkd.training.ema import Ema
from advkd.training.spec import TrainSpec
from storage import TrajectorySpec


class TrainState:
    """Networks, optimizers, average, randomness and clock of one run."""

    def __init__(self, spec: TrainSpec, store: TrajectorySpec) -> None:
        """A fresh state: the weights depend on the seed alone.

        Raises:
            ValueError: the specs do not fit the store's shape or grid.
        """
        if not store.deterministic:
            raise ValueError(
                f"a pointwise distillation loss needs a deterministic sampler, got a cache of {store.sampler!r} "
                "trajectories, where a state is no function of the noise; precompute with the ddim solver"
            )
        shapes = {t: list(store.state_shape(t)) for t in store.timesteps}
        if any(shape != list(store.sample_shape) for shape in shapes.values()):
            raise ValueError(
                f"this student works at the teacher's resolution {list(store.sample_shape)} throughout, got a pyramid "
                f"store with {shapes}; precompute one without --resolutions"
            )
        submodules = len(store.timesteps) - 1
        device = torch_device(spec.device)
        _, height, width = store.sample_shape
        if height % spec.discriminator.patch or width % spec.discriminator.patch:
            raise ValueError(
                f"DiscriminatorSpec.patch must divide height and width, got {spec.discriminator.patch} for "
                f"{height}x{width}; choose a smaller patch"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            self.student = build_student(spec, store).to(device, memory_format=torch.channels_last)
            self.discriminator: nn.Module = ProjectionDiscriminator(
                spec.discriminator, store.sample_shape[0], submodules
            ).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = Ema(self.student)
        fused = {"fused": True}
        self.student_optimizer = torch.optim.Adam(
            self.student.parameters(), lr=spec.learning_rate, betas=(0.9, 0.99), **fused
        )
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=spec.discriminator_learning_rate, betas=(0.0, 0.99), **fused
        )
        self.generator = torch.Generator().manual_seed(spec.seed)
        self.submodule_weights = _submodule_weights(spec, self.student.coefficients)
        self.samples = 0
        self.adversarial_steps = 0


def build_student(spec: TrainSpec, store: TrajectorySpec) -> LayerwiseStudent:
    """An untrained student for a store's grid and shape."""
    student: LayerwiseStudent = LayerwiseStudent(
        sample_shape=list(store.sample_shape),
        timesteps=list(store.timesteps),
        signal=list(store.signal),
        sigma=list(store.sigma),
        width=spec.student.width,
        blocks=spec.student.blocks,
        patch=spec.student.patch,
    )
    return student


def _submodule_weights(spec: TrainSpec, coefficients: SkipCoefficients) -> tuple[float, ...]:
    if spec.submodule_weights is None:
        return tuple(1.0 / gain for gain in coefficients.gain)
    if len(spec.submodule_weights) != len(coefficients.gain):
        raise ValueError(
            f"submodule_weights must have one weight per submodule ({len(coefficients.gain)}), got "
            f"{len(spec.submodule_weights)}; give as many or leave them out"
        )
    return spec.submodule_weights
