"""How the paper's student is trained; the faults of the released code are fixed, and can be switched on again.

Released code: https://github.com/kidist-amde/Adv-KD. `RELEASED` has its faults; an option alone has that one.
"""

from dataclasses import dataclass
from typing import Any, Literal

from advkd.discriminators import NORMS
from advkd.training.run_spec import RunSpec, check_choice, check_not_negative, check_positive

INPUT_NOISES = ("unit", "clipped")


@dataclass(frozen=True, kw_only=True)
class PaperSpec(RunSpec):
    """The paper's recipe: progressive, adversarial alone, by Adam with beta1 0.5 (`advkd.training.methods.paper`).

    No seed and no evaluation, two more faults of the released code, cannot be switched on.

    Attributes:
        method: "paper", the row of this dataclass.
        width: channels of the student's submodules at 8x8; doubled with the side, up to eight times.
        discriminator_width: channels after the discriminator's first convolution.
        discriminator_sees_noise: whether it is conditioned on the student's 4x4 input, as the released one is.
        learning_rate: of both networks, constant.
        beta1: of Adam, for both.
        penalty_weight: weight of the one-centred gradient penalty.
        penalty_every: steps between two penalties (each then counts as many times); released: 1.
        input_noise: "unit": the student's 4x4 input has unit variance in training as in sampling. Released: "clipped",
            x_T clipped to [-1, 1], stored as an 8-bit image and shrunk, which at 256x256 leaves a standard deviation of
            0.0085 in training, while sampling has 1.
        weight_clip: bound of the discriminator's weights after each of its updates, None: no bound. Released: 0.1,
            besides the penalty, which was invented to replace clipping.
        discriminator_norm: "none". Released: "batch", under a penalty that is one of every sample.
        ema_halflife: as in every run. Released: 0, no average.
    """

    method: Literal["paper"] = "paper"
    width: int = 16
    discriminator_width: int = 32
    discriminator_sees_noise: bool = True
    learning_rate: float = 1e-4
    beta1: float = 0.5
    penalty_weight: float = 10.0
    penalty_every: int = 4
    input_noise: str = "unit"
    weight_clip: float | None = None
    discriminator_norm: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "discriminator_width", "penalty_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"PaperSpec.{name} must be a positive whole number, got {value!r}; use at least 1")
        check_choice("PaperSpec.input_noise", self.input_noise, INPUT_NOISES)
        check_choice("PaperSpec.discriminator_norm", self.discriminator_norm, NORMS)
        check_positive("PaperSpec.learning_rate", self.learning_rate)
        check_not_negative("PaperSpec.penalty_weight", self.penalty_weight)
        if not 0.0 <= self.beta1 < 1.0:
            raise ValueError(f"PaperSpec.beta1 must lie in [0, 1), got {self.beta1}; use 0.5")
        if self.weight_clip is not None:
            check_positive("PaperSpec.weight_clip", self.weight_clip)


RELEASED: dict[str, Any] = {
    "input_noise": "clipped",
    "weight_clip": 0.1,
    "discriminator_norm": "batch",
    "ema_halflife": 0.0,
    "penalty_every": 1,
}
"""What `PaperSpec` must be given to have all the faults of the released code that can be switched on."""
