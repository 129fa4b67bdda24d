"""One step of our method written a second time, for tests: two losses, autograd, nothing shared and nothing saved.

`PlainLayerwise` has copies of a method's two networks in float64 and moves them by the formulas of the method alone:
every loss has a forward pass of its own, the student's two losses are added before one backward pass, and the penalties
are second derivatives of the plain loss. Which submodule is judged of each sample is all that it is given.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from advkd.training.data import TrajectoryBatch
from advkd.training.methods.layerwise_spec import TrainSpec
from storage import TrajectorySpec
from tests.advkd.optimizers.plain_muon import PlainAdam, PlainMuon


@dataclass(frozen=True)
class PlainStep:
    """What a step reports, and what decided it."""

    distillation: float
    adversarial: float
    scale: float
    discriminator: float
    margin: float
    learning_rate: float
    phase: str
    penalised: bool
    balances: tuple[float, ...]
    """The adversarial gradient's factor of each part of the batch, before the limit."""


class PlainLayerwise:
    """The run so far: networks, optimizers, average, clock."""

    def __init__(self, spec: TrainSpec, store: TrajectorySpec, student: nn.Module, discriminator: nn.Module) -> None:
        self.spec, self.submodules = spec, len(store.timesteps) - 1
        self.student, self.discriminator = copy.deepcopy(student).double(), copy.deepcopy(discriminator).double()
        # x_hat_k = (s_k / s_T) x_T + (a_k - a_T s_k / s_T) F_k
        self.skip = [s / store.sigma[0] for s in store.sigma[1:]]
        self.gain = [a - store.signal[0] * skip for a, skip in zip(store.signal[1:], self.skip, strict=True)]
        self.weights = spec.submodule_weights or [1.0 / gain for gain in self.gain]
        # Rows of embeddings are no kernels.
        self.muon = PlainMuon(
            {n: w.detach() for n, w in self.student.named_parameters()}, spec.weight_decay, rows=("embedding.weight",)
        )
        self.adam = PlainAdam({n: w.detach() for n, w in self.discriminator.named_parameters()}, betas=(0.0, 0.99))
        self.average = {n: w.detach().clone() for n, w in self.student.named_parameters()}
        self.draws = torch.Generator().manual_seed(spec.seed)
        self.samples = self.games = 0
        self.told: dict[str, Tensor] = {}

    def step(self, batch: TrajectoryBatch) -> PlainStep:
        """One step on a whole batch in float64."""
        spec = self.spec
        rate = self._rate()
        playing = self.samples >= spec.warmup * spec.samples
        penalised = playing and self.games % spec.penalty_every == 0
        judged = torch.randint(self.submodules, (spec.batch_size,), generator=self.draws) if playing else None
        rows = spec.batch_size // spec.accumulate
        mine, theirs = Gradients(self.student), Gradients(self.discriminator)
        reports = []
        for start in range(0, spec.batch_size, rows):
            part = slice(start, start + rows)
            self.told = {name: values[part] for name, values in batch.condition.items()}
            noise, states = batch.noise[part], [state[part] for state in batch.states]
            if judged is None:
                loss = self._distillation(noise, states)
                mine.add(loss, 1 / spec.accumulate)
                reports.append((loss.item(), 0.0, 0.0, 0.0, 0.0, 0.0))
            else:
                reports.append(self._play(noise, states, judged[part], penalised, mine, theirs))
        self.muon.step(mine.found, rate)
        if playing:
            self.adam.step(theirs.found, spec.discriminator_learning_rate)
            self.games += 1
        self.samples += spec.batch_size
        self._follow()
        distillation, adversarial, _, scale, discriminator, margin = (
            sum(column) / len(column) for column in zip(*reports, strict=True)
        )
        return PlainStep(
            distillation=distillation,
            adversarial=adversarial,
            scale=scale,
            discriminator=discriminator,
            margin=margin,
            learning_rate=rate,
            phase="adversarial" if playing else "distillation",
            penalised=penalised,
            balances=tuple(report[2] for report in reports) if playing else (),
        )

    def _play(
        self,
        noise: Tensor,
        states: list[Tensor],
        judged: Tensor,
        penalised: bool,
        mine: "Gradients",
        theirs: "Gradients",
    ) -> tuple[float, ...]:
        """Adds the gradients of one part of a batch in the game; what it reports."""
        spec, share = self.spec, 1 / self.spec.accumulate
        real = torch.stack([self._clean(noise, states[k], k)[row] for row, k in enumerate(judged.tolist())])
        fake = self._fake(noise, judged).detach()
        on_real, on_fake = self._judge(real, judged), self._judge(fake, judged)
        judgement = discriminator_loss(spec.adversarial, on_real, on_fake)
        theirs.add(judgement, share)
        if penalised:
            # R1 and R2: half the squared slope, at weight gamma; a step counts for those that have none.
            slopes = self._squared_slope(real, judged) + self._squared_slope(fake, judged)
            theirs.add(0.5 * spec.penalty_weight * spec.penalty_every * slopes, share)
        last = self.student.heads[-1].conv.weight
        (pull,) = torch.autograd.grad(self._distillation(noise, states), last)
        (push,) = torch.autograd.grad(self._game(noise, real, judged), last)
        balance = spec.adversarial_weight * (pull.norm() / (push.norm() + 1e-12)).item()
        scale = min(balance, spec.adversarial_limit)
        distillation, game = self._distillation(noise, states), self._game(noise, real, judged)
        mine.add(distillation + scale * game, share)
        margin = (on_real.mean() - on_fake.mean()).item()
        return distillation.item(), game.item(), balance, scale, judgement.item(), margin

    def _rate(self) -> float:
        spec = self.spec
        rise = min((self.samples + spec.batch_size) / max(spec.rise_samples, spec.batch_size), 1.0)
        return spec.learning_rate * rise * (1.0 + math.cos(math.pi * self.samples / spec.samples)) / 2.0

    def _distillation(self, noise: Tensor, states: list[Tensor]) -> Tensor:
        """Pseudo-Huber (Song & Dhariwal 2023, section 3.3) per pixel, weighted, over samples and submodules."""
        losses = []
        for k, estimate in enumerate(self.student.estimates(noise, **self.told)):
            difference = self.skip[k] * noise + self.gain[k] * estimate - states[k]
            size = difference[0].numel()
            c = 0.00054 * math.sqrt(size)
            norms = (difference.square().sum((1, 2, 3)) + c**2).sqrt() - c
            losses.append(self.weights[k] * (norms / math.sqrt(size)).mean())
        return sum(losses[1:], losses[0]) / len(losses)

    def _game(self, noise: Tensor, real: Tensor, judged: Tensor) -> Tensor:
        on_real = self._judge(real, judged)
        return generator_loss(self.spec.adversarial, on_real, self._judge(self._fake(noise, judged), judged))

    def _judge(self, images: Tensor, judged: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(images, judged, **self.told)
        return logits

    def _fake(self, noise: Tensor, judged: Tensor) -> Tensor:
        estimates = self.student.estimates(noise, **self.told)
        return torch.stack([estimates[k][row] for row, k in enumerate(judged.tolist())])

    def _clean(self, noise: Tensor, state: Tensor, submodule: int) -> Tensor:
        """The estimate that would make the student's state the teacher's."""
        return (state - self.skip[submodule] * noise) / self.gain[submodule]

    def _squared_slope(self, images: Tensor, judged: Tensor) -> Tensor:
        images = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self._judge(images, judged).sum(), images, create_graph=True)
        return slope.square().sum() / len(images)

    def _follow(self) -> None:
        """The average: its half-life is a tenth of what was seen, until that is the run's."""
        halflife = min(self.spec.ema_halflife, self.samples / 10)
        kept = 2.0 ** (-self.spec.batch_size / halflife) if halflife else 0.0
        for name, weight in self.student.named_parameters():
            self.average[name] = kept * self.average[name] + (1 - kept) * weight.detach()


class Gradients:
    """Sums of gradients of a network's weights by name."""

    def __init__(self, network: nn.Module) -> None:
        self._weights = dict(network.named_parameters())
        self.found = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}

    def add(self, loss: Tensor, share: float) -> None:
        """Those of one loss; a weight that it does not depend on gets none."""
        gradients = torch.autograd.grad(share * loss, list(self._weights.values()), allow_unused=True)
        for name, gradient in zip(self._weights, gradients, strict=True):
            if gradient is not None:
                self.found[name] += gradient


def discriminator_loss(game: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises."""
    if game == "relativistic":
        return softplus(fake - real).mean()
    if game == "non-saturating":
        return (softplus(fake) + softplus(-real)).mean()
    if game == "hinge":
        return (relu(1 + fake) + relu(1 - real)).mean()
    return (fake - real).mean()


def generator_loss(game: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the student minimises."""
    if game == "relativistic":
        return softplus(real - fake).mean()
    return softplus(-fake).mean() if game == "non-saturating" else -fake.mean()
