"""`make bench-paper`: a training step of the paper's student beside a straightforward port of the released loop.

64x64 images of three channels, batch 32, the last of seven phases, one thread, float32. All cases have the same
networks with the same weights, the same batch and the same losses. The port does per step what the released code does:
two forward passes of the student, a discriminator loss that goes back through the student for nothing, a gradient
penalty every time, Adam as it comes; weights in PyTorch's default memory format. The other cases take that back one by
one, down to `PaperMethod.step`.

CPU seconds are counted, not those of the clock: one thread computes, and other work on the machine then matters little.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from advkd.device.threads import no_denormals, torch_threads
from advkd.diffusion import linear_schedule, solver_grid, spread_captures
from advkd.losses import interpolated, one_centred_penalty
from advkd.training.data import TrajectoryBatch
from advkd.training.methods.paper import PaperMethod, target_state
from advkd.training.methods.paper_spec import PaperSpec
from benchmarks.measure import figures, interleaved, ratios, spread, table, write
from storage import TrajectorySpec

SIDE, CHANNELS, BATCH, CAPTURES = 64, 3, 32, 7
PORT, DETACHED, EVERY, OURS = (
    "port of the released loop",
    "port, fakes detached from the student",
    "ours, penalty every step",
    "ours",
)


def facts() -> TrajectorySpec:
    """A store of 64x64 trajectories, each state at its submodule's side; nothing of it is computed."""
    schedule, grid = linear_schedule(), spread_captures(solver_grid(1000, 1000), CAPTURES)
    sides = (SIDE, 8, 8, 16, 16, 32, 32, 64)
    return TrajectorySpec(
        teacher="none",
        fingerprint="0" * 64,
        sampler="ddpm",
        deterministic=False,
        sampler_config={},
        solver_steps=1000,
        timesteps=grid,
        signal=tuple(schedule.signal(t) for t in grid),
        sigma=tuple(schedule.sigma(t) for t in grid),
        sample_shape=(CHANNELS, SIDE, SIDE),
        base_seed=0,
        dtype="float32",
        resolutions=tuple((side, side) for side in sides),
        shard_samples=128,
        block_samples=128,
    )


def a_batch(store: TrajectorySpec) -> TrajectoryBatch:
    generator = torch.Generator().manual_seed(0)
    noise, *states = (torch.randn(BATCH, *store.state_shape(t), generator=generator) for t in store.timesteps)
    return TrajectoryBatch(noise, tuple(states))


def in_last_phase(spec: PaperSpec, store: TrajectorySpec) -> PaperMethod:
    method = PaperMethod(spec, store)
    # One step after the phase began, so that the optimizer is not begun anew at every call.
    method.state.samples = (method.ends[-2] + 1) * spec.batch_size
    method.state.student.train()
    return method


def ported_step(method: PaperMethod, batch: TrajectoryBatch, *, detached: bool) -> Callable[[], None]:
    """One step as the released loop makes it, on the method's networks in the default memory format."""
    spec, submodule = method.spec, method.submodule
    student = method.student.to(memory_format=torch.contiguous_format)
    judge = method.state.discriminator[submodule].to(memory_format=torch.contiguous_format)
    trained = [*student.submodules.parameters(), *student.heads.parameters()]
    fast, slow = (
        torch.optim.Adam(weights, lr=spec.learning_rate, betas=(spec.beta1, 0.999))
        for weights in (list(judge.parameters()), trained)
    )
    coarse = student.coarse(batch.noise)
    real = target_state(batch.states[submodule], student.sides[submodule])

    def predict() -> Tensor:
        # `ProgressiveStudent.prediction` without its memory format.
        hidden = coarse
        for part in student.submodules:
            hidden = part(hidden)
        return student.heads[submodule](hidden)

    def judged(states: Tensor) -> Tensor:
        found = torch.cat([judge.image(states).flatten(1), judge.noise(coarse).flatten(1)], 1)
        return judge.judge(found).squeeze(1)

    def requires_grad(network: nn.Module, value: bool) -> None:
        for weight in network.parameters():
            weight.requires_grad = value

    def step() -> None:
        fake = predict()
        if detached:
            fake = fake.detach()
        requires_grad(judge, True)
        judge.zero_grad()
        on_real, on_fake = judged(real), judged(fake)
        between = interpolated(real, fake.detach(), torch.rand(len(real)))
        penalty = one_centred_penalty(judged(between), between)
        (softplus(-on_real).mean() + softplus(on_fake).mean() + spec.penalty_weight * penalty).backward()
        fast.step()
        requires_grad(judge, False)
        student.zero_grad()
        softplus(-judged(predict())).mean().backward()
        slow.step()

    return step


def cpu_seconds(step: Callable[[], object], calls: int = 1) -> Callable[[], float]:
    """CPU seconds per step, which takes some of them, after one that does not count."""

    def measure() -> float:
        step()
        began = time.process_time()
        for _ in range(calls):
            step()
        return (time.process_time() - began) / calls

    return measure


@torch_threads(1)
@no_denormals()
def measure() -> list[dict[str, float]]:
    store, spec = facts(), PaperSpec(batch_size=BATCH, samples=BATCH * 2800)
    batch = a_batch(store)

    ours, every = in_last_phase(spec, store), in_last_phase(replace(spec, penalty_every=1), store)
    return interleaved(
        {
            PORT: cpu_seconds(ported_step(in_last_phase(spec, store), batch, detached=False)),
            DETACHED: cpu_seconds(ported_step(in_last_phase(spec, store), batch, detached=True)),
            EVERY: cpu_seconds(lambda: every.step(batch)),
            # As many as have one penalty among them.
            OURS: cpu_seconds(lambda: ours.step(batch), spec.penalty_every),
        }
    )


def main() -> None:
    runs = measure()
    rows = [
        [name, spread([1000 * seconds for seconds in figures(runs, name)], ".0f"), spread(ratios(runs, PORT, name))]
        for name in (PORT, DETACHED, EVERY, OURS)
    ]
    write(
        "paper_step",
        "# A training step of the paper's student\n\n"
        "`make bench-paper` measures CPU time per step on 64x64 images of three channels, batch 32, in the last of "
        "seven phases, with one thread in float32. Figures are medians, with ranges in brackets, of three repeats in "
        "which the cases take turns. All cases have the same networks, batch and losses. The port makes two forward "
        "passes of the student per step, propagates the discriminator's loss back through the student, and takes the "
        f"penalty in every step; ours takes it in every {PaperSpec().penalty_every}th step and weights it as many "
        "times.\n\n" + table(["step", "ms", "times as fast as the port"], rows),
    )


if __name__ == "__main__":
    main()
