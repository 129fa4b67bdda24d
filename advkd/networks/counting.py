"""Counts what a network costs, without timing anything: parameters, multiply-adds."""

from collections.abc import Callable

from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(network: nn.Module) -> int:
    """Counts a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(run: Callable[[], object]) -> int:
    """Counts the multiply-adds of everything that `run` computes."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2
