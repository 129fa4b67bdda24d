"""One training step: one student forward shared by the distillation, the student's and the discriminator's loss."""

from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.losses import ADVERSARIAL, gradient_penalty, pseudo_huber
from advkd.schedule import implied_clean
from advkd.training.data import TrajectoryBatch
from advkd.training.spec import TrainSpec
from advkd.training.state import TrainState

_TINY = 1e-12


@dataclass(frozen=True)
class StepLosses:
    """Scalars on the device, so that reading them is the caller's decision; zero where a phase has not begun."""

    distillation: Tensor
    adversarial: Tensor
    discriminator: Tensor
    real_logit: Tensor
    fake_logit: Tensor
    adversarial_scale: Tensor


def train_step(state: TrainState, batch: TrajectoryBatch, spec: TrainSpec, *, adversarial: bool) -> StepLosses:
    """Updates the student, and with `adversarial` the discriminator too; `state.samples` is left to the caller."""
    student = state.student
    with _autocast(spec, batch.noise):
        estimates = student.estimates(batch.noise)
    estimates = [estimate.float() for estimate in estimates]
    distillation = _distillation(state, batch, estimates)
    if not adversarial:
        state.student_optimizer.zero_grad(set_to_none=True)
        distillation.backward()
        state.student_optimizer.step()
        zero = distillation.new_zeros(())
        return StepLosses(distillation.detach(), zero, zero, zero, zero, zero)

    judged = torch.randint(len(estimates), (len(batch.noise),), generator=state.generator).to(batch.noise.device)
    real = _pick([_clean(state, batch, k) for k in range(len(estimates))], judged)
    fake = _pick(estimates, judged)
    game, scale = _student_update(state, spec, distillation, estimates, real, fake, judged)
    discriminator, real_logit, fake_logit = _discriminator_update(state, spec, real, fake.detach(), judged)
    return StepLosses(distillation.detach(), game, discriminator, real_logit, fake_logit, scale)


def _student_update(
    state: TrainState,
    spec: TrainSpec,
    distillation: Tensor,
    estimates: list[Tensor],
    real: Tensor,
    fake: Tensor,
    judged: Tensor,
) -> tuple[Tensor, Tensor]:
    state.discriminator.requires_grad_(False)
    with _autocast(spec, fake):
        logits_fake, logits_real = state.discriminator(fake, judged), state.discriminator(real, judged)
    game = ADVERSARIAL[spec.adversarial].generator(logits_real.float(), logits_fake.float())
    toward_teacher = torch.autograd.grad(distillation, estimates, retain_graph=True)
    toward_real = torch.autograd.grad(game, estimates, retain_graph=True)
    state.discriminator.requires_grad_(True)
    # The balance is measured at the last submodule's output weights (method.md 4).
    weight = state.student.heads[-1].conv.weight
    norms = [
        torch.autograd.grad(estimates[-1], weight, grads[-1], retain_graph=True)[0].float().norm()
        for grads in (toward_teacher, toward_real)
    ]
    scale = (spec.adversarial_weight * norms[0] / (norms[1] + _TINY)).clamp_max(spec.adversarial_limit)
    state.student_optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(estimates, [d + scale * g for d, g in zip(toward_teacher, toward_real, strict=True)])
    state.student_optimizer.step()
    return game.detach(), scale


def _discriminator_update(
    state: TrainState, spec: TrainSpec, real: Tensor, fake: Tensor, judged: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    penalised = state.adversarial_steps % spec.penalty_every == 0
    real, fake = real.requires_grad_(penalised), fake.requires_grad_(penalised)
    # Second derivatives are taken in float32.
    with _autocast(spec, real, enabled=not penalised):
        logits_real, logits_fake = state.discriminator(real, judged), state.discriminator(fake, judged)
    loss = ADVERSARIAL[spec.adversarial].discriminator(logits_real.float(), logits_fake.float())
    total = loss
    if penalised:
        penalty = gradient_penalty(logits_real, real) + gradient_penalty(logits_fake, fake)
        total = loss + spec.penalty_weight * spec.penalty_every * penalty
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    total.backward()
    state.discriminator_optimizer.step()
    state.adversarial_steps += 1
    return loss.detach(), logits_real.detach().float().mean(), logits_fake.detach().float().mean()


def _distillation(state: TrainState, batch: TrajectoryBatch, estimates: list[Tensor]) -> Tensor:
    predicted = state.student.states(batch.noise, estimates)
    losses = [
        weight * pseudo_huber(mine - theirs).mean()
        for weight, mine, theirs in zip(state.submodule_weights, predicted, batch.states, strict=True)
    ]
    return torch.stack(losses).mean()


def _clean(state: TrainState, batch: TrajectoryBatch, submodule: int) -> Tensor:
    coefficients = state.student.coefficients
    return implied_clean(
        batch.states[submodule], batch.noise, coefficients.skip[submodule], coefficients.gain[submodule]
    )


def _pick(candidates: list[Tensor], which: Tensor) -> Tensor:
    return torch.stack(candidates)[which, torch.arange(len(which), device=which.device)]


def _autocast(spec: TrainSpec, like: Tensor, *, enabled: bool = True) -> torch.autocast:
    return torch.autocast(like.device.type, torch.bfloat16, enabled=enabled and spec.precision == "bfloat16")
