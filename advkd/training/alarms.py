"""Stops a run that goes wrong: values that are not finite, a collapsed student, an exploding discriminator.

Alarms are pure functions of the observations so far, so a resumed run raises the same ones as an uninterrupted run.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from advkd.training.checkpoint import checkpoints
from advkd.training.observation import Observation
from advkd.training.run_spec import RunSpec
from advkd.training.state import TrainState


class TrainingAlarmError(ArithmeticError):
    """A run went wrong and was stopped; the message says why, and which checkpoint was still good."""


class NonFiniteLossError(TrainingAlarmError):
    """A loss, a weight or an observed value became NaN or infinite."""


class CollapseError(TrainingAlarmError):
    """The student returns nearly the same image for every noise, and did not before."""


class ExplodingDiscriminatorError(TrainingAlarmError):
    """The discriminator's logits or gradients exceed their bounds."""


@dataclass(frozen=True, kw_only=True)
class AlarmBounds:
    """Bounds beyond which an observation is bad, and the number of bad ones in a row that stops a run.

    Measured on the closed-form teacher (16x16, width 16, batch 32, 9 600 to 19 200 samples). Healthy runs, with each
    of the three adversarial losses and even without a penalty: spread 0.30 untrained and 0.68 to 0.89 in the
    adversarial phase, margins up to 3.4, gradient norms up to 5. Provoked faults: an adversarial weight of 100 without
    a penalty lowers the spread to 0.2; a discriminator learning rate of 0.1 gives margins of 1e5 and gradients of 1e5;
    a student learning rate of 10 gives one image for all noises, spread 0. At a margin of 20 the slope of softplus
    losses is 2e-9, so they teach nothing.

    Attributes:
        spread: smallest good ratio of the student's spread to the teacher's, at the last submodule in the adversarial
            phase.
        varied: the ratio must have reached this value before a lower one counts as a collapse, because untrained
            students have a low spread.
        constant: below this ratio the student returns one image for every noise, which is bad in every phase.
        margin: largest absolute margin of any submodule, in logits.
        discriminator_gradient: largest norm of the discriminator's gradient.
        in_a_row: number of bad observations that stops a run; a single one may be an unlucky batch, or a step with a
            penalty.
    """

    spread: float = 0.3
    varied: float = 0.5
    constant: float = 0.01
    margin: float = 20.0
    discriminator_gradient: float = 1_000.0
    in_a_row: int = 3

    def __post_init__(self) -> None:
        ordered = 0.0 <= self.constant <= self.spread <= self.varied
        if not ordered or min(self.margin, self.discriminator_gradient) <= 0.0 or self.in_a_row < 1:
            raise ValueError(
                f"AlarmBounds must have 0 <= constant <= spread <= varied and the others positive, got {self}; leave "
                "them out for the defaults"
            )


BOUNDS = AlarmBounds()


def collapsed(observations: Sequence[Observation], bounds: AlarmBounds = BOUNDS) -> Sequence[Observation]:
    """Returns the newest observations in a row whose last submodule is constant, or has lost its earlier variety."""
    if not observations:
        return ()
    submodules = len(observations[-1].submodules)

    def below(bound: float, seen: Observation) -> bool:
        last = seen.submodules[-1]
        return len(seen.submodules) == submodules and last.spread is not None and last.spread < bound

    def lost(seen: Observation) -> bool:
        playing = seen.submodules[-1].margin is not None
        return below(bounds.spread if playing else bounds.constant, seen)

    constant = _trailing(observations, lost)
    before = observations[: len(observations) - len(constant)]
    earlier = [seen.submodules[submodules - 1].spread for seen in before if len(seen.submodules) >= submodules]
    if any(ratio is not None and ratio >= bounds.varied for ratio in earlier):
        return constant
    return _trailing(observations, partial(below, bounds.constant))


def exploding(observations: Sequence[Observation], bounds: AlarmBounds = BOUNDS) -> Sequence[Observation]:
    """Returns the newest observations in a row with a margin or a discriminator gradient beyond the bounds."""

    def bad(seen: Observation) -> bool:
        return _margin(seen) > bounds.margin or (seen.discriminator_gradient or 0.0) > bounds.discriminator_gradient

    return _trailing(observations, bad)


def raise_alarms(spec: RunSpec, observations: Sequence[Observation], out: Path, bounds: AlarmBounds = BOUNDS) -> None:
    """Stops a run whose newest observations are bad.

    Raises:
        CollapseError: see `AlarmBounds.spread`.
        ExplodingDiscriminatorError: see `AlarmBounds.margin` and `AlarmBounds.discriminator_gradient`.
    """
    bad = collapsed(observations, bounds)
    if len(bad) >= bounds.in_a_row:
        values = ", ".join(f"{seen.submodules[-1].spread:.3g}" for seen in bad)
        raise CollapseError(
            f"a student's images must stay {bounds.spread:g} times as varied as its teacher's, got {values} "
            f"{_when(bad)}; {_kept(observations, bad, out)}; "
            f"{_change(spec, lower=('adversarial_weight', 'learning_rate'), higher=('penalty_weight',))}"
        )
    bad = exploding(observations, bounds)
    if len(bad) >= bounds.in_a_row:
        margins = ", ".join(f"{_margin(seen):.3g}" for seen in bad)
        norms = ", ".join(f"{seen.discriminator_gradient or 0.0:.3g}" for seen in bad)
        raise ExplodingDiscriminatorError(
            f"a discriminator's margins must stay within {bounds.margin:g} logits and its gradient norm within "
            f"{bounds.discriminator_gradient:g}, got {margins} and {norms} {_when(bad)}; "
            f"{_kept(observations, bad, out)}; "
            f"{_change(spec, lower=('discriminator_learning_rate', 'learning_rate'), higher=('penalty_weight',))}"
        )


def refuse_non_finite(state: TrainState, losses: Sequence[float], out: Path) -> None:
    """Stops a run whose losses or weights are not finite.

    Raises:
        NonFiniteLossError: a loss or a weight is NaN or infinite; existing checkpoints are finite.
    """
    norms = torch._foreach_norm([p.detach() for p in (*state.student.parameters(), *state.discriminator.parameters())])
    if all(math.isfinite(loss) for loss in losses) and bool(torch.isfinite(torch.stack(norms)).all()):
        return
    raise _non_finite(f"losses and weights must stay finite, got {list(losses)}", state.samples, out)


def refuse_non_finite_observation(seen: Observation, out: Path) -> None:
    """Stops a run whose networks return values that are not finite, even if their weights are finite.

    Raises:
        NonFiniteLossError: an observed value is NaN or infinite; the message names all of these.
    """
    names = seen.not_finite()
    if names:
        fact = f"what is observed of a run must stay finite, got NaN or infinity for {', '.join(names)}"
        raise _non_finite(fact, seen.samples, out)


def _non_finite(fact: str, samples: int, out: Path) -> NonFiniteLossError:
    kept = checkpoints(out)[-1:]
    return NonFiniteLossError(
        f"{fact} after {samples} samples; the last good checkpoint is {kept[0] if kept else 'none yet'}; lower "
        "learning_rate or adversarial_weight, or use float32, and run again in another output folder"
    )


def _trailing(observations: Sequence[Observation], bad: Callable[[Observation], bool]) -> Sequence[Observation]:
    count = next((index for index, seen in enumerate(reversed(observations)) if not bad(seen)), len(observations))
    return observations[len(observations) - count :]


def _margin(seen: Observation) -> float:
    return max((abs(part.margin) for part in seen.submodules if part.margin is not None), default=0.0)


def _when(bad: Sequence[Observation]) -> str:
    return f"in {len(bad)} observations in a row, after {bad[0].samples} to {bad[-1].samples} samples"


def _kept(observations: Sequence[Observation], bad: Sequence[Observation], out: Path) -> str:
    """Names the newest checkpoint up to the last good observation."""
    good = max((seen.samples for seen in observations if seen.samples < bad[0].samples), default=0)
    there = checkpoints(out)
    kept = [folder for folder in there if int(folder.name) <= good]
    if kept:
        return f"the last good checkpoint is {kept[-1]}, and what was still good was observed at {good} samples"
    return f"no checkpoint is left from before the last good observation, at {good} samples"


def _change(spec: RunSpec, lower: tuple[str, ...], higher: tuple[str, ...]) -> str:
    """Names the settings to change, among those that the run's method has."""
    changes = [
        f"{verb} {' or '.join(f'{name} ({getattr(spec, name):g})' for name in names if hasattr(spec, name))}"
        for verb, names in (("lower", lower), ("raise", higher))
        if any(hasattr(spec, name) for name in names)
    ]
    return f"{', or '.join(changes)}, and run again in another output folder"
