"""Faults of our method, its losses and its optimizers."""

from benchmarks.mutant_rows.mutant import Mutant

_STEP = "tests/advkd/training/methods/test_layerwise_step.py"
_RUN = f"{_STEP}::test_a_run_is_the_plain_one_whether_the_limit_binds_or_not"
_SETTINGS = f"{_STEP}::test_every_setting_is_the_plain_one"
_MUON = "tests/advkd/optimizers/test_muon_oracle.py"
_AVERAGE = "tests/advkd/training/test_average.py"
_LOSSES = "tests/advkd/losses/test_losses.py"
_PAPER = "tests/advkd/training/methods/test_paper.py"
_PAPER_STEP = "tests/advkd/training/methods/test_paper_step.py"

METHOD = (
    Mutant(
        "the adversarial gradient has no limit",
        "advkd/training/methods/layerwise.py",
        "return scale.clamp_max(self.spec.adversarial_limit)",
        "return scale",
        (_RUN,),
    ),
    Mutant(
        "a lazy penalty does not count for the steps without one",
        "advkd/training/methods/layerwise.py",
        "spec.penalty_weight * spec.penalty_every * penalty",
        "spec.penalty_weight * penalty",
        (_RUN,),
    ),
    Mutant(
        "the average has its whole half-life from the first step",
        "advkd/training/loop.py",
        "min(spec.ema_halflife, 0.1 * state.samples)",
        "spec.ema_halflife",
        (_AVERAGE,),
    ),
    Mutant(
        "Muon's step is 1 % too long",
        "advkd/optimizers/muon.py",
        "_MATCHED_RMS = 0.2",
        "_MATCHED_RMS = 0.202",
        (_MUON,),
    ),
    Mutant(
        "Muon does not look ahead",
        "advkd/optimizers/muon.py",
        'weight.grad.lerp(state["momentum"], group["momentum"]).flatten(1)',
        'state["momentum"].flatten(1)',
        (_MUON,),
    ),
    Mutant(
        "a tall matrix gets a wide one's length",
        "advkd/optimizers/muon.py",
        "max(turned.shape[1:]) ** 0.5",
        "turned.shape[2] ** 0.5",
        (_MUON,),
    ),
    Mutant(
        "biases decay too fast: Adam's second moment forgets",
        "advkd/optimizers/muon.py",
        'beta2=group["betas"][1]',
        'beta2=group["betas"][0]',
        (_MUON,),
    ),
    Mutant(
        "the average's half-life is a time constant",
        "advkd/optimizers/ema.py",
        "0.5 ** (samples / halflife)",
        "2.718281828 ** (-samples / halflife)",
        (_AVERAGE,),
    ),
    Mutant(
        "the learning rate begins its rise a batch late",
        "advkd/training/methods/layerwise.py",
        "min(1.0, (samples + spec.batch_size) / max(",
        "min(1.0, samples / max(",
        (_SETTINGS,),
    ),
    Mutant(
        "every submodule's distillation loss counts alike",
        "advkd/training/methods/layerwise.py",
        "tuple(1.0 / gain for gain in coefficients.gain)",
        "tuple(1.0 for gain in coefficients.gain)",
        (_RUN,),
    ),
    Mutant(
        "R2 is left out",
        "advkd/training/methods/layerwise.py",
        "gradient_penalty(logits_real, real) + gradient_penalty(logits_fake, fake)",
        "gradient_penalty(logits_real, real)",
        (_RUN,),
    ),
    Mutant(
        "the game begins a step late",
        "advkd/training/methods/layerwise.py",
        "self.state.samples >= self.spec.warmup * self.spec.samples",
        "self.state.samples > self.spec.warmup * self.spec.samples",
        (_RUN,),
    ),
    Mutant(
        "parts of a batch give the student their sum",
        "advkd/training/methods/layerwise.py",
        "both = [(d + scale * g) / spec.accumulate for",
        "both = [(d + scale * g) for",
        (_RUN,),
    ),
    Mutant(
        "parts of a batch enlarge the student's pull",
        "advkd/losses/gradient_pulls.py",
        "return self.toward_real(fakes.grad / share)",
        "return self.toward_real(fakes.grad)",
        (_RUN,),
    ),
    Mutant(
        "a decided game pulls no more",
        "advkd/losses/gradient_pulls.py",
        "least = _LEAST / fake.numel()",
        "least = 1e-45",
        ("tests/advkd/losses/test_gradient_pulls.py",),
    ),
    Mutant(
        "pseudo-Huber's c does not grow with the image",
        "advkd/losses/distillation.py",
        "c = 0.00054 * scale",
        "c = 0.00054",
        (_LOSSES,),
    ),
    Mutant(
        "the generator wants what the discriminator wants",
        "advkd/losses/adversarial.py",
        "return softplus(real - fake).mean()",
        "return softplus(fake - real).mean()",
        (_LOSSES,),
    ),
    Mutant(
        "WGAN-GP pulls slopes to zero",
        "advkd/losses/penalties.py",
        "(norms - 1.0).square()",
        "norms.square()",
        (_LOSSES,),
    ),
    Mutant(
        "a state's noise is left in its clean estimate",
        "advkd/diffusion/schedule.py",
        "return (state - skip * noise) / gain",
        "return state / gain",
        (_RUN,),
    ),
    Mutant(
        "the student's gain forgets the signal in x_T",
        "advkd/diffusion/schedule.py",
        "gain = tuple(a - signal[0] * keep for a, keep",
        "gain = tuple(a for a, keep",
        ("tests/advkd/diffusion/test_schedule.py",),
    ),
    Mutant(
        "the paper's phases are all of one length",
        "advkd/training/methods/paper.py",
        "steps * (k + 1) * (k + 2) // (2 * parts)",
        "steps * (k + 1) // submodules",
        (f"{_PAPER}::test_phase_k_lasts_k_parts",),
    ),
    Mutant(
        "the paper's next phase keeps the old moments",
        "advkd/training/methods/paper.py",
        "if state.samples // spec.batch_size in (0, *self.ends):",
        "if state.samples // spec.batch_size == 0:",
        (f"{_PAPER}::test_a_phase_begins_with_a_fresh_optimizer",),
    ),
    Mutant(
        "the paper's lazy penalty does not count for the steps without one",
        "advkd/training/methods/paper.py",
        "spec.penalty_weight * spec.penalty_every * penalty",
        "spec.penalty_weight * penalty",
        (_PAPER_STEP,),
    ),
    Mutant(
        "the paper's discriminator is shown teacher's states unclipped",
        "advkd/training/methods/paper.py",
        "adaptive_avg_pool2d(state, side).clamp(-1.0, 1.0)",
        "adaptive_avg_pool2d(state, side)",
        (_PAPER_STEP,),
    ),
)
