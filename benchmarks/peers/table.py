"""The one table of peers."""

from benchmarks.peers import adversarial, consistency, ours, pairs, rectified, released, temporal
from benchmarks.peers.protocol import Peer

BASE = "ours"
PEERS: dict[str, Peer] = {
    BASE: Peer(
        title="ours, `quick`",
        source="[recipe](../recipe.md)",
        notes="Noise and four states of the cache; the game from 40 % of the budget on.",
        train=ours.train,
    ),
    "pairs": Peer(
        title="distillation of pairs",
        source="[Luhman and Luhman 2021](https://arxiv.org/abs/2101.02388)",
        notes="Noise and clean state. Our network and Muon; least squares, as in the paper.",
        train=pairs.train,
    ),
    "released": Peer(
        title="Adv-KD as released, faults fixed",
        source="[Mekonnen et al. 2024](https://arxiv.org/abs/2405.20675)",
        notes="Noise and as many states as its pyramid needs, which it reduces itself. The paper's ancestral "
        "trajectories take 1000 passes each: with this cache's passes that is a hundredth of the trajectories. Its "
        "own network (widened to our parameters), game and Adam, at ten times the paper's rate, which wins here. It "
        "ignores class labels.",
        train=released.train,
        check=released.check,
    ),
    "temporal": Peer(
        title="neural operator in time (DSNO)",
        source="[Zheng et al. 2023](https://arxiv.org/abs/2211.13449)",
        notes="Noise and four states, all predicted in one pass, tied by convolutions over time. Our layers and Muon; "
        "L1 and four times, as in the paper; the schedule's skip and our weights are granted to it.",
        train=temporal.train,
        check=temporal.check,
    ),
    "rectified": Peer(
        title="rectified flow, distilled (SlimFlow)",
        source="[Zhu et al. 2024](https://arxiv.org/abs/2407.12718)",
        notes="Noise and clean state. Half of the budget for the flow (annealing reflow in its first half), half for "
        "the one-step student, on cached pairs and on fresh noises that the flow leads to images in two steps.",
        train=rectified.train,
        check=rectified.check,
    ),
    "consistency": Peer(
        title="consistency distillation",
        source="[Song et al. 2023](https://arxiv.org/abs/2303.01469)",
        notes="Clean states, noised; a step of the teacher for every sample while it trains, in its CPU seconds.",
        train=consistency.train_asking,
        check=consistency.check_asking,
    ),
    "consistency-cached": Peer(
        title="consistency distillation, cached steps",
        source="[Song et al. 2023](https://arxiv.org/abs/2303.01469)",
        notes="Every state of the cache: two neighbours of a trajectory are the teacher's step. No pass in training.",
        train=consistency.train_cached,
        check=consistency.check_cached,
    ),
    "adversarial": Peer(
        title="adversarial alone (like LADD)",
        source="[Sauer et al. 2024](https://arxiv.org/abs/2403.12015)",
        notes="Clean states alone, without their noises: hinge game with R1. Our network, Muon (at a third of our "
        "rate) and discriminator: one on the teacher's features takes the budget for a sixth of the steps "
        "([recipe](../recipe.md)).",
        train=adversarial.train,
    ),
}
