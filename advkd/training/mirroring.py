"""Trajectories mirrored left to right: more of them from the same cache, for teachers of mirrored images.

If mirroring does not change the distribution of the data, it does not change the score beyond mirroring it, so the
solution of the probability-flow ODE from a mirrored noise is the mirrored solution. A network that was trained on
mirrored images keeps to that nearly.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from advkd.diffusion import Labels, Pixels, conditions_of
from advkd.training.data import TrajectoryBatch
from advkd.training.run_spec import RunSpec
from storage import TrajectorySpec

_STREAM = 0x6D6972726F72
"""Keeps these draws apart from others of the same seed: "mirror" in ASCII."""


def check_mirrored(spec: RunSpec, store: TrajectorySpec) -> None:
    """Checks that a store's trajectories can be mirrored as a run asks.

    Raises:
        ValueError: the store holds latents, or not the classes that `spec.mirror` names.
    """
    if spec.mirror is False:
        return
    pixels = Pixels(store.sample_shape).facts
    space = (store.space or pixels)["kind"]
    if space != pixels["kind"]:
        raise ValueError(
            f"states are mirrored where they are pixels, got a store of {space!r}: an autoencoder does not decode "
            "mirrored latents into mirrored images; leave mirror out"
        )
    if spec.mirror is True:
        return
    conditions = conditions_of(store.conditioning)
    classes = conditions.classes if isinstance(conditions, Labels) else 0
    if wrong := [label for label in spec.mirror if not 0 <= label < classes]:
        raise ValueError(
            f"classes to mirror must be among the store's {classes}, got {wrong[0]}; name those, or say true for all"
        )


def mirrored(batch: TrajectoryBatch, spec: RunSpec, samples: int, rows: slice = slice(None)) -> TrajectoryBatch:
    """Mirrors trajectories with probability 1/2, the noise and all states of one alike; conditions stay.

    Args:
        batch: some rows of a step's batch, with their conditions.
        spec: says which, and its seed draws; of a run that does not mirror, the batch is returned as it is.
        samples: trajectories seen before this step, so that a resumed run draws the same.
        rows: which rows of the step's batch these are.
    """
    if not spec.mirror:
        return batch
    drawn = np.random.Generator(np.random.Philox(np.random.SeedSequence([spec.seed, samples, _STREAM])))
    chosen = torch.from_numpy(drawn.random(spec.batch_size)[rows] < 0.5).to(batch.noise.device)
    if spec.mirror is not True:
        labels = batch.condition["class_labels"]
        chosen &= torch.isin(labels, torch.tensor(spec.mirror, device=labels.device))
    chosen = chosen[:, None, None, None]

    def turn(states: Tensor) -> Tensor:
        return torch.where(chosen, states.flip(-1), states)

    return replace(batch, noise=turn(batch.noise), states=tuple(turn(state) for state in batch.states))
