"""What a network's output says of the clean state, for each thing that it may have been trained to predict.

Pure functions of numbers and arrays (docs/method.md 2). `a_t` and `s_t` are those of the state.
"""

import math
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

Array = TypeVar("Array", "Tensor", "npt.NDArray[Any]")


def clean_estimate(prediction: str, output: Array, state: Array, signal: float, sigma: float) -> Array:
    """Returns `x0_hat` of a state `x_t = a_t x_0 + s_t eps`, `[B, C, H, W]`.

    Args:
        prediction: "epsilon" (`a_t` must be positive), "v_prediction" (`v = a_t eps - s_t x_0` with
            `a_t^2 + s_t^2 = 1`; Salimans and Ho 2022, https://arxiv.org/abs/2202.00512), "sample", or
            "flow_prediction" (`v = eps - x_0` with `a_t + s_t = 1`).
        output: the network's, of the state's shape.
        state: `x_t`.
        signal: `a_t`.
        sigma: `s_t`.

    Raises:
        ValueError: the prediction is none of these.
    """
    if prediction == "epsilon":
        return (state - sigma * output) / signal
    if prediction == "v_prediction":
        return signal * state - sigma * output
    if prediction == "flow_prediction":
        return state - sigma * output
    if prediction == "sample":
        return output
    raise ValueError(
        "a network must predict epsilon, v_prediction, sample or flow_prediction, got "
        f"{prediction!r}; name one of these"
    )


def preconditioned_input(state: Array, sigma: float, sigma_data: float) -> Array:
    """Returns what an EDM network sees of `x_t = (x_0 + sigma eps) / sqrt(1 + sigma^2)` (Karras et al. 2022, c_in)."""
    return state * (math.hypot(1.0, sigma) / math.hypot(sigma, sigma_data))


def preconditioned_clean(prediction: str, output: Array, state: Array, sigma: float, sigma_data: float) -> Array:
    """Returns `x0_hat` of an EDM state `x_t = (x_0 + sigma eps) / sqrt(1 + sigma^2)`: Karras et al. 2022, Eq. 7.

    With "v_prediction" the output has the other sign, as in diffusers.
    """
    scale = math.hypot(sigma, sigma_data)
    sign = -1.0 if prediction == "v_prediction" else 1.0
    kept = (sigma_data / scale) ** 2 * math.hypot(1.0, sigma)
    return kept * state + sign * sigma * sigma_data / scale * output
