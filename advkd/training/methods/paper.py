"""The paper's method: submodules are trained one after the other, by an adversarial loss alone (method.md 5).

Phase k trains submodules 0 to k through the k-th head, against a fresh discriminator of the teacher's k-th state and a
fresh optimizer, and lasts k + 1 parts of the run, as the released code's epochs do. A head is not trained after its own
phase, while the submodules below it are. The teacher's states are brought to the submodule's side by means over boxes
and clipped to [-1, 1]: the head ends in tanh, and the released code stores them as images.

Both updates of a step start from the same weights and share one forward pass of student and discriminator. The released
code computes the student's again after the discriminator's update; which of the two goes first is all that differs.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from advkd.device import torch_device
from advkd.discriminators import DcganDiscriminator, is_per_sample
from advkd.losses import ADVERSARIAL, interpolated, one_centred_penalty, pulls
from advkd.optimizers import Ema
from advkd.students import COARSE, ProgressiveStudent
from advkd.training.data import TrajectoryBatch
from advkd.training.distributed import ALONE, Processes
from advkd.training.grid import refuse_conditions, training_grid
from advkd.training.methods.paper_spec import PaperSpec
from advkd.training.methods.protocol import Comparison, Comparisons, StepLosses, autocast
from advkd.training.state import TrainState
from storage import TrajectorySpec

_GAME = ADVERSARIAL["non-saturating"]


class PaperMethod:
    """A progressive student in training.

    BatchNorm's statistics, of the student and of a discriminator with that norm, are those of each part of a batch that
    is computed at once: unlike the other method's, this one's result depends on `accumulate` and on the number of
    processes by more than rounding. The first process's running statistics are saved.
    """

    def __init__(self, spec: PaperSpec, store: TrajectorySpec, processes: Processes = ALONE) -> None:
        """At its beginning: the weights depend on the seed alone.

        Raises:
            ValueError: the spec does not fit the store's shape or grid, or the number of processes.
        """
        self.spec = spec
        self.store = training_grid(store, spec.timesteps)
        self.processes = processes
        self.state = _fresh_state(spec, self.store)
        self.student: ProgressiveStudent = self.state.student
        self.ends = phase_ends(spec.steps, len(self.store.timesteps) - 1)
        _check_resolutions(spec, self.store, self.student.sides)

    @property
    def submodule(self) -> int:
        """The newest of the submodules that the next step trains, from 0."""
        step = self.state.samples // self.spec.batch_size
        return next((k for k, end in enumerate(self.ends) if step < end), len(self.ends) - 1)

    def phase(self) -> str:
        """Which submodule's output is judged."""
        return f"submodule {self.submodule + 1} of {len(self.ends)}"

    def learning_rate(self) -> float:
        """Constant."""
        return self.spec.learning_rate

    def step(self, batch: TrajectoryBatch) -> StepLosses:
        """Updates submodules and discriminator of the phase on this process's share of a batch."""
        state, spec, submodule = self.state, self.spec, self.submodule
        if state.samples // spec.batch_size in (0, *self.ends):
            state.student_optimizer.state.clear()
        discriminator = state.discriminator.get_submodule(str(submodule))
        state.student_optimizer.zero_grad(set_to_none=True)
        state.discriminator.zero_grad(set_to_none=True)
        parts = batch.split(spec.accumulate)
        shares = self._draw_shares(parts)
        losses = torch.stack(
            [self._backward(part, submodule, discriminator, share) for part, share in zip(parts, shares, strict=True)]
        )
        self.processes.average_gradients(state.student)
        self.processes.average_gradients(discriminator)
        state.student_optimizer.step()
        assert state.discriminator_optimizer is not None
        state.discriminator_optimizer.step()
        state.adversarial_steps += 1
        if spec.weight_clip is not None:
            clip_weights(discriminator, spec.weight_clip)
        game, loss, real, fake = losses.mean(0)
        return StepLosses(
            distillation=torch.zeros_like(game),
            adversarial=game,
            adversarial_scale=torch.ones_like(game),
            discriminator=loss,
            real_logit=real,
            fake_logit=fake,
        )

    def comparisons(self, batch: TrajectoryBatch) -> Comparisons:
        """The states of the submodules that are or were trained, beside the teacher's, as discriminators see them."""
        coarse, step = self._input(batch.noise), self.state.samples // self.spec.batch_size
        compared = []
        for k, began in zip(range(self.submodule + 1), (0, *self.ends), strict=False):
            with autocast(self.spec, coarse):
                predicted = self.student.prediction(coarse, k).float()
            real = target_state(batch.states[k], self.student.sides[k])
            compared.append(Comparison(real, predicted, partial(self._logits, k, coarse) if step > began else None))
        return Comparisons(inputs=coarse, submodules=tuple(compared))

    def _logits(self, submodule: int, coarse: Tensor, images: Tensor) -> Tensor:
        with autocast(self.spec, images):
            return self.state.discriminator.get_submodule(str(submodule))(images, coarse).float()  # type: ignore[no-any-return]

    def _draw_shares(self, parts: list[TrajectoryBatch]) -> list[Tensor] | list[None]:
        """How much of each sample's interpolate is real, for the batches of all processes alike; none: no penalty."""
        if self.spec.penalty_weight == 0.0 or self.state.adversarial_steps % self.spec.penalty_every:
            return [None] * len(parts)
        drawn = torch.rand(self.spec.batch_size, generator=self.state.generator)
        mine = drawn[self.processes.share(self.spec.batch_size)].to(torch_device(self.spec.device))
        return list(mine.split(len(parts[0].noise)))

    def _backward(
        self, part: TrajectoryBatch, submodule: int, discriminator: nn.Module, share: Tensor | None
    ) -> Tensor:
        """Adds the part's gradients to both networks'; both losses and the two mean logits as `[4]`."""
        spec = self.spec
        weights = list(discriminator.parameters())
        coarse = self._input(part.noise)
        real = target_state(part.states[submodule], self.student.sides[submodule])
        with autocast(spec, coarse):
            predicted = self.student.prediction(coarse, submodule)
            # A leaf of its own, so that the student's gradient leaves the discriminator's weights alone.
            fake = predicted.detach().requires_grad_()
            logits_real, logits_fake = discriminator(real, coarse).float(), discriminator(fake, coarse).float()
        pull, penalty = pulls(_GAME, logits_real, logits_fake), None
        if share is not None:
            between = interpolated(real, fake.float(), share)
            # Second derivatives are taken in float32.
            penalty = one_centred_penalty(discriminator(between, coarse), between)
            penalty = spec.penalty_weight * spec.penalty_every * penalty
        apart = not is_per_sample(discriminator)
        toward_real = pull.backward(
            (logits_real, logits_fake), fake, weights, 1.0 / spec.accumulate, penalty, apart=apart
        )
        predicted.backward(toward_real / spec.accumulate)
        means = (logits_real.mean().detach(), logits_fake.mean().detach())
        return torch.stack([pull.generator_loss, pull.discriminator_loss, *means])

    def _input(self, noise: Tensor) -> Tensor:
        return released_input(noise) if self.spec.input_noise == "clipped" else self.student.coarse(noise)


def phase_ends(steps: int, submodules: int) -> tuple[int, ...]:
    """The step after each phase's last: phase k of K, from 0, lasts k + 1 of K (K + 1) / 2 parts of the run.

    Raises:
        ValueError: too few steps for each phase to have one.
    """
    parts = submodules * (submodules + 1) // 2
    if steps < parts:
        raise ValueError(
            f"a progressive run must have a step for each of its {submodules} phases, which last 1 to {submodules} of "
            f"{parts} parts, got {steps} steps; see at least {parts} batches of samples"
        )
    return tuple(steps * (k + 1) * (k + 2) // (2 * parts) for k in range(submodules))


def target_state(state: Tensor, side: int) -> Tensor:
    """A teacher's state `[B, C, H, W]` as a submodule's target `[B, C, side, side]` in [-1, 1]."""
    return adaptive_avg_pool2d(state, side).clamp(-1.0, 1.0)


def released_input(noise: Tensor) -> Tensor:
    """What the released code trains on: x_T `[B, C, H, W]` clipped, as an 8-bit image, shrunk to `[B, C, 4, 4]`."""
    shrunk = interpolate(_eight_bits(noise), size=(COARSE, COARSE), mode="bilinear", antialias=True)
    return _eight_bits(shrunk)


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Every weight into [-bound, bound] (WGAN, Arjovsky et al. 2017, algorithm 1)."""
    for weight in network.parameters():
        weight.clamp_(-bound, bound)


def _eight_bits(images: Tensor) -> Tensor:
    return ((images.clamp(-1.0, 1.0) + 1.0) * 127.5).round() / 127.5 - 1.0


def _check_resolutions(spec: PaperSpec, store: TrajectorySpec, sides: tuple[int, ...]) -> None:
    refuse_conditions(store)
    full = store.sample_shape[1]
    _, *noise = store.state_shape(store.timesteps[0])
    least = full if spec.input_noise == "clipped" else COARSE
    if min(noise) < least:
        raise ValueError(
            f"the noise of a progressive student's store must be at least {least}x{least} "
            f'(input_noise="{spec.input_noise}"), got {noise[0]}x{noise[1]}; precompute it at {full}x{full}'
        )
    for k, (timestep, side) in enumerate(zip(store.timesteps[1:], sides, strict=True)):
        _, height, width = store.state_shape(timestep)
        if height < side or width < side:
            raise ValueError(
                f"a state must be stored at its submodule's side or more, got {height}x{width} at timestep {timestep} "
                f"for submodule {k + 1}, which works at {side}x{side}; precompute with the sides {sides} or larger ones"
            )


def _fresh_state(spec: PaperSpec, store: TrajectorySpec) -> TrainState:
    device = torch_device(spec.device)
    channels = store.sample_shape[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        student: ProgressiveStudent = ProgressiveStudent(
            sample_shape=list(store.sample_shape),
            timesteps=list(store.timesteps),
            signal=list(store.signal),
            sigma=list(store.sigma),
            width=spec.width,
            space=store.space,
        )
        discriminators = nn.ModuleList(
            DcganDiscriminator(
                channels,
                side,
                spec.discriminator_width,
                spec.discriminator_norm,
                sees_noise=spec.discriminator_sees_noise,
            )
            for side in student.sides
        )
    student = student.to(device, memory_format=torch.channels_last)
    discriminators = discriminators.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainState(
        student=student,
        discriminator=discriminators,
        student_optimizer=_adam(student, spec),
        discriminator_optimizer=_adam(discriminators, spec),
        ema=Ema(student),
        generator=torch.Generator().manual_seed(spec.seed),
    )


def _adam(network: nn.Module, spec: PaperSpec) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=spec.learning_rate, betas=(spec.beta1, 0.999), fused=True)
