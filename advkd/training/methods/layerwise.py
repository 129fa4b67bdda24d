"""Our method: distillation of every submodule, later against a discriminator too (method.md 4).

One forward pass of the student per step serves the distillation, the student's and the discriminator's loss, and one
pass forth and back through the discriminator both players (`advkd.losses.gradient_pulls`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from advkd.device import torch_device
from advkd.diffusion import LABELS, POOLED, PROMPTS, Labels, SkipCoefficients, implied_clean, prompt_shapes
from advkd.discriminators import DISCRIMINATORS, is_per_sample, takes_classes, takes_prompts
from advkd.losses import ADVERSARIAL, gradient_penalty, pseudo_huber, pulls
from advkd.optimizers import Ema, Muon, kernels_and_rows
from advkd.students import STUDENTS, AnyStudent
from advkd.training.data import TrajectoryBatch
from advkd.training.distributed import ALONE, Processes
from advkd.training.grid import refuse_conditions, training_grid
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.protocol import Comparison, Comparisons, StepLosses, autocast
from advkd.training.state import TrainState
from storage import TrajectorySpec

_TINY = 1e-12


@dataclass(frozen=True)
class _Judged:
    """What the discriminator made of one part of a batch.

    Attributes:
        toward_real: gradient of the student's adversarial loss with respect to the fakes, `[B, C, H, W]`.
        generator_loss: that loss.
        discriminator: its own loss and the mean logits of the teacher's and of the student's.
    """

    toward_real: Tensor
    generator_loss: Tensor
    discriminator: tuple[Tensor, Tensor, Tensor]


class LayerwiseMethod:
    """A layerwise student in training."""

    def __init__(self, spec: TrainSpec, store: TrajectorySpec, processes: Processes = ALONE) -> None:
        """At its beginning: the weights depend on the seed alone.

        Raises:
            ValueError: the spec does not fit the store's shape, grid or sampler, or the number of processes.
        """
        self.spec = spec
        self.store = training_grid(store, spec.timesteps)
        self.processes = processes
        _check(spec, self.store)
        self.state = _fresh_state(spec, self.store)
        self.submodule_weights = _submodule_weights(spec, self.state.student.coefficients)

    def phase(self) -> str:
        """Distillation alone, until the warm-up is over."""
        return "adversarial" if self.state.samples >= self.spec.warmup * self.spec.samples else "distillation"

    def learning_rate(self) -> float:
        """The student's: linear rise, then a cosine to zero at the end of the run."""
        spec, samples = self.spec, self.state.samples
        rise = min(1.0, (samples + spec.batch_size) / max(spec.rise_samples, spec.batch_size))
        return spec.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * samples / spec.samples))

    def step(self, batch: TrajectoryBatch) -> StepLosses:
        """Updates the student, and in the adversarial phase the discriminator, on this process's share of a batch."""
        state = self.state
        for group in state.student_optimizer.param_groups:
            group["lr"] = self.learning_rate()
        adversarial = self.phase() == "adversarial"
        parts = batch.split(self.spec.accumulate)
        submodules = self._draw_submodules().split(len(parts[0].noise)) if adversarial else [None] * len(parts)
        state.student_optimizer.zero_grad(set_to_none=True)
        state.discriminator.zero_grad(set_to_none=True)
        losses = [self._backward(part, submodule) for part, submodule in zip(parts, submodules, strict=True)]
        self.processes.average_gradients(state.student)
        state.student_optimizer.step()
        if adversarial:
            self.processes.average_gradients(state.discriminator)
            assert state.discriminator_optimizer is not None
            state.discriminator_optimizer.step()
            state.adversarial_steps += 1
        return StepLosses(*torch.stack(losses).mean(0).unbind())

    def comparisons(self, batch: TrajectoryBatch) -> Comparisons:
        """Every submodule's clean estimate beside the teacher's, as the discriminator is shown them."""
        with autocast(self.spec, batch.noise):
            estimates = self.state.student.estimates(batch.noise, **batch.condition)
        played = self.state.adversarial_steps > 0
        judged = [partial(self._logits, k, self._judged_by(batch)) for k in range(len(estimates))]
        return Comparisons(
            inputs=batch.noise,
            submodules=tuple(
                Comparison(self._clean(batch, k), estimate.float(), judged[k] if played else None)
                for k, estimate in enumerate(estimates)
            ),
        )

    def _logits(self, submodule: int, condition: Mapping[str, Tensor], images: Tensor) -> Tensor:
        which = torch.full((len(images),), submodule, device=images.device)
        with autocast(self.spec, images):
            return self.state.discriminator(images, which, **condition).float()  # type: ignore[no-any-return]

    def _judged_by(self, batch: TrajectoryBatch) -> Mapping[str, Tensor]:
        """What the discriminator is told of a batch besides."""
        told = {"classes": "class_labels", "pooled": POOLED}
        return {told[name]: batch.condition[told[name]] for name in _judged_by(self.spec, self.store)}

    def _draw_submodules(self) -> Tensor:
        """Which submodule's estimate is judged of each sample, drawn for the batches of all processes alike."""
        count = self.spec.batch_size
        drawn = torch.randint(len(self.submodule_weights), (count,), generator=self.state.generator)
        return drawn[self.processes.share(count)].to(torch_device(self.spec.device))

    def _backward(self, part: TrajectoryBatch, submodule: Tensor | None) -> Tensor:
        """Adds the part's gradients to both networks'; the fields of `StepLosses` as `[6]`."""
        state, spec = self.state, self.spec
        with autocast(spec, part.noise):
            estimates = state.student.estimates(part.noise, **part.condition)
        estimates = [estimate.float() for estimate in estimates]
        distillation = self._distillation(part, estimates)
        if submodule is None:
            (distillation / spec.accumulate).backward()
            return torch.stack([distillation.detach(), *distillation.new_zeros(5)])
        real = _pick([self._clean(part, k) for k in range(len(estimates))], submodule)
        fake = _pick(estimates, submodule)
        toward_teacher = torch.autograd.grad(distillation, estimates, retain_graph=True)
        told = self._judged_by(part)
        judged = self._discriminator_backward(
            real, fake.detach(), lambda images: state.discriminator(images, submodule, **told)
        )
        toward_real = torch.autograd.grad(fake, estimates, judged.toward_real, retain_graph=True)
        scale = self._balance(estimates[-1], toward_teacher[-1], toward_real[-1])
        both = [(d + scale * g) / spec.accumulate for d, g in zip(toward_teacher, toward_real, strict=True)]
        torch.autograd.backward(estimates, both)
        return torch.stack([distillation.detach(), judged.generator_loss, scale, *judged.discriminator])

    def _discriminator_backward(self, real: Tensor, fake: Tensor, judge: Callable[[Tensor], Tensor]) -> _Judged:
        """Adds the gradients of its own loss to the discriminator's, and reads the student's off the same pass."""
        spec, discriminator = self.spec, self.state.discriminator
        penalised = self.state.adversarial_steps % spec.penalty_every == 0
        real, fake = real.requires_grad_(penalised), fake.requires_grad_()
        # Second derivatives are taken in float32.
        with autocast(spec, real, enabled=not penalised):
            logits_real, logits_fake = (judge(images).float() for images in (real, fake))
        pull, penalty = pulls(ADVERSARIAL[spec.adversarial], logits_real, logits_fake), None
        if penalised:
            penalty = gradient_penalty(logits_real, real) + gradient_penalty(logits_fake, fake)
            penalty = spec.penalty_weight * spec.penalty_every * penalty
        weights = list(discriminator.parameters())
        apart = penalised or logits_fake.dim() > 1 or not is_per_sample(discriminator)
        toward_real = pull.backward(
            (logits_real, logits_fake), fake, weights, 1.0 / spec.accumulate, penalty, apart=apart
        )
        means = (logits_real.mean().detach(), logits_fake.mean().detach())
        return _Judged(toward_real, pull.generator_loss, (pull.discriminator_loss, *means))

    def _balance(self, estimate: Tensor, toward_teacher: Tensor, toward_real: Tensor) -> Tensor:
        """The adversarial gradient's factor, measured at the last submodule's output weights (method.md 4)."""
        weight = self.state.student.output_weight
        gradients = [
            torch.autograd.grad(estimate, weight, gradient, retain_graph=True)[0].float()
            for gradient in (toward_teacher, toward_real)
        ]
        self.processes.average_(gradients)
        scale: Tensor = self.spec.adversarial_weight * gradients[0].norm() / (gradients[1].norm() + _TINY)
        return scale.clamp_max(self.spec.adversarial_limit)

    def _distillation(self, batch: TrajectoryBatch, estimates: list[Tensor]) -> Tensor:
        predicted = self.state.student.states(batch.noise, estimates)
        losses = [
            weight * pseudo_huber(mine - theirs).mean()
            for weight, mine, theirs in zip(self.submodule_weights, predicted, batch.states, strict=True)
        ]
        return torch.stack(losses).mean()

    def _clean(self, batch: TrajectoryBatch, submodule: int) -> Tensor:
        coefficients = self.state.student.coefficients
        return implied_clean(
            batch.states[submodule], batch.noise, coefficients.skip[submodule], coefficients.gain[submodule]
        )


def _check(spec: TrainSpec, store: TrajectorySpec) -> None:
    refuse_conditions(store, getattr(STUDENTS[spec.student.kind], "condition_kinds", ()))
    if not store.deterministic:
        raise ValueError(
            f"a pointwise distillation loss needs a deterministic sampler, got a cache of {store.sampler!r} "
            "trajectories, where a state is no function of the noise; precompute with the ddim solver, or train with "
            "--preset paper, which has no such loss"
        )
    shapes = {t: list(store.state_shape(t)) for t in store.timesteps}
    if any(shape != list(store.sample_shape) for shape in shapes.values()):
        raise ValueError(
            f"this student works at the teacher's resolution {list(store.sample_shape)} throughout, got a pyramid "
            f"store with {shapes}; precompute one without --resolutions"
        )


def _fresh_state(spec: TrainSpec, store: TrajectorySpec) -> TrainState:
    device = torch_device(spec.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        student = _student(spec, store).to(device, memory_format=torch.channels_last)
        discriminator = _discriminator(spec, store).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainState(
        student=student,
        discriminator=discriminator,
        student_optimizer=Muon(kernels_and_rows(student), lr=spec.learning_rate, weight_decay=spec.weight_decay),
        discriminator_optimizer=torch.optim.Adam(
            discriminator.parameters(), lr=spec.discriminator_learning_rate, betas=(0.0, 0.99), fused=True
        ),
        ema=Ema(student),
        generator=torch.Generator().manual_seed(spec.seed),
    )


def _student(spec: TrainSpec, store: TrajectorySpec) -> AnyStudent:
    kind = STUDENTS[spec.student.kind]
    missing = sorted(name for name in ("estimates", "states", "output_weight") if not hasattr(kind, name))
    if missing:
        raise ValueError(
            f"the layerwise method trains students that give clean estimates, got {spec.student.kind} without "
            f"{missing}; choose another TrainSpec.student.kind or another method"
        )
    student: AnyStudent = kind(
        sample_shape=list(store.sample_shape),
        timesteps=list(store.timesteps),
        signal=list(store.signal),
        sigma=list(store.sigma),
        width=spec.student.width,
        blocks=spec.student.blocks,
        patch=spec.student.patch,
        levels=spec.student.levels,
        attention=spec.student.attention,
        space=store.space,
        **({} if store.conditioning is None else {"conditioning": dict(store.conditioning)}),
    )
    return student


def _discriminator(spec: TrainSpec, store: TrajectorySpec) -> nn.Module:
    return DISCRIMINATORS[spec.discriminator.kind](
        spec.discriminator, store.sample_shape, len(store.timesteps) - 1, **_judged_by(spec, store)
    )


def _judged_by(spec: TrainSpec, store: TrajectorySpec) -> dict[str, int]:
    """The number of classes, or the width of prompts' pooled embeddings, that the discriminator is told of, if any."""
    facts, kind = store.conditioning or {}, DISCRIMINATORS[spec.discriminator.kind]
    if facts.get("kind") == LABELS and takes_classes(kind):
        return {"classes": Labels(facts).classes}
    if facts.get("kind") == PROMPTS and takes_prompts(kind):
        return {"pooled": prompt_shapes(facts)[POOLED][0]}
    return {}


def _pick(candidates: list[Tensor], which: Tensor) -> Tensor:
    return torch.stack(candidates)[which, torch.arange(len(which), device=which.device)]


def _submodule_weights(spec: TrainSpec, coefficients: SkipCoefficients) -> tuple[float, ...]:
    if spec.submodule_weights is None:
        return tuple(1.0 / gain for gain in coefficients.gain)
    if len(spec.submodule_weights) != len(coefficients.gain):
        raise ValueError(
            f"submodule_weights must have one weight per submodule ({len(coefficients.gain)}), got "
            f"{len(spec.submodule_weights)}; give as many or leave them out"
        )
    return spec.submodule_weights
