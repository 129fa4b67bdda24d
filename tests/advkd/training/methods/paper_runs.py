"""Small runs of the paper's method."""

from advkd.training.methods.paper_spec import PaperSpec

PYRAMID = ((16, 16), (8, 8), (8, 8), (16, 16))


def tiny_paper(**changes: object) -> PaperSpec:
    """12 steps: phases of 2, 4 and 6, a checkpoint after every 3."""
    chosen: dict[str, object] = {
        "width": 4,
        "discriminator_width": 4,
        "samples": 96,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "penalty_every": 2,
        "ema_halflife": 32.0,
        "window": 2,
        "checkpoint_every": 24,
        "report_every": 1,
    }
    return PaperSpec(**(chosen | changes))
