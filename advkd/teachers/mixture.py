"""The closed-form teacher: a Gaussian mixture, whose posterior mean `E[x_0 | x_t]` is exact (docs/method.md 6).

Tests use it as an oracle (a mixture of one component even has a closed-form flow map), experiments as a fast teacher.
It computes in float64.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advkd.diffusion import UNCONDITIONAL, NoiseSchedule, Pixels, Start, TimeGrid, linear_schedule
from advkd.teachers.base import SolverSpec
from advkd.teachers.solving import scheduler_facts, solve, time_grid

_SCHEDULER_CONFIG: dict[str, object] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "linear",
    "prediction_type": "sample",
    "clip_sample": False,
}


@dataclass(frozen=True)
class Mixture:
    """`x_0 = offset + basis z`, `z ~ sum_j weights_j N(means_j, covariances_j)`; float64.

    Shapes: weights `[J]`, means `[J, d]`, covariances `[J, d, d]`, basis `[D, d]` with orthonormal columns,
    offset `[D]`, where D = C H W.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    basis: Tensor
    offset: Tensor

    def __post_init__(self) -> None:
        components, dims = self.means.shape
        if self.covariances.shape != (components, dims, dims) or self.basis.shape != (len(self.offset), dims):
            raise ValueError(
                f"a mixture's parts must agree in shape, got means {tuple(self.means.shape)}, covariances "
                f"{tuple(self.covariances.shape)}, basis {tuple(self.basis.shape)}, offset {tuple(self.offset.shape)}"
            )

    def digest(self) -> str:
        """Returns the sha256 over the parameters, rounded to float32 so that the last bits of a fit do not matter."""
        sha = hashlib.sha256()
        for part in (self.weights, self.means, self.covariances, self.basis, self.offset):
            sha.update(np.ascontiguousarray(part.numpy().astype("<f4")).tobytes())
        return sha.hexdigest()


class MixtureTeacher:
    """A `Teacher` whose clean estimate is the exact posterior mean of a Gaussian mixture."""

    def __init__(self, mixture: Mixture, sample_shape: tuple[int, int, int], name: str = "mixture") -> None:
        self.name = name
        self.mixture = mixture
        self.space = Pixels(sample_shape)
        self.conditions = UNCONDITIONAL
        self.schedule: NoiseSchedule = linear_schedule()
        facts = json.dumps([_SCHEDULER_CONFIG, list(sample_shape), mixture.digest()], sort_keys=True)
        self.fingerprint = hashlib.sha256(facts.encode()).hexdigest()
        variances, self._axes = torch.linalg.eigh(mixture.covariances)
        self._variances = variances.clamp_min(0.0)

    def grid(self, solver: SolverSpec) -> TimeGrid:
        """See `Teacher.grid`."""
        return time_grid(_SCHEDULER_CONFIG, solver)

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """See `Teacher.solver_config`."""
        return scheduler_facts(_SCHEDULER_CONFIG, solver)

    def states(
        self, start: Start, solver: SolverSpec, labels: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """See `Teacher.states`; the states have the dtype of the noise."""
        noise = start.noise
        double = noise.double()
        for state in solve(self._predict, _SCHEDULER_CONFIG, solver, double, labels, seeds):
            yield state.to(noise.dtype)

    def _predict(self, state: Tensor, time: Tensor) -> Tensor:
        return self.clean_estimate(state, int(time))

    def clean_estimate(self, state: Tensor, timestep: int) -> Tensor:
        """Returns the exact `E[x_0 | x_t]`: float64 `[B, C, H, W]` for a state of the same shape."""
        return self.posterior_mean(state, self.schedule.signal(timestep), self.schedule.sigma(timestep))

    def posterior_mean(self, state: Tensor, a: float, s: float) -> Tensor:
        """Returns the exact `E[x_0 | a x_0 + s eps = state]`: float64 `[B, C, H, W]`; `s` must be positive."""
        parts = self.mixture
        # In the coordinates of the basis, y = a z + s eps, so every component stays Gaussian.
        y = (state.double().flatten(1) - a * parts.offset) @ parts.basis
        centred = torch.einsum("bjd,jde->bje", y[:, None] - a * parts.means, self._axes)
        spread = a * a * self._variances + s * s
        log_density = -0.5 * (centred.square() / spread + spread.log()).sum(-1) + parts.weights.log()
        responsibility = torch.softmax(log_density, dim=1)
        # E[z | y, j] = mu_j + a Sigma_j (a^2 Sigma_j + s^2 I)^-1 (y - a mu_j)
        shrunk = torch.einsum("bje,jde->bjd", centred * (a * self._variances / spread), self._axes)
        z = torch.einsum("bj,bjd->bd", responsibility, parts.means + shrunk)
        return (parts.offset + z @ parts.basis.T).view(state.shape)


@cache
def digits_mixture_teacher(components: int = 20, dimensions: int = 40) -> MixtureTeacher:
    """Fits the mixture teacher to scikit-learn's digits: PCA to `dimensions`, then a full-covariance mixture."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    from advkd.teachers.digits import SHAPE, digit_images

    images = digit_images().flatten(1).double().numpy()
    pca = PCA(dimensions, svd_solver="full").fit(images)
    fit = GaussianMixture(components, reg_covar=1e-3, random_state=0).fit(pca.transform(images))
    mixture = Mixture(
        weights=torch.from_numpy(fit.weights_),
        means=torch.from_numpy(fit.means_),
        covariances=torch.from_numpy(fit.covariances_),
        basis=torch.from_numpy(pca.components_.T.copy()),
        offset=torch.from_numpy(pca.mean_),
    )
    return MixtureTeacher(mixture, SHAPE)
