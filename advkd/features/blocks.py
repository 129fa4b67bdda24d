"""Which blocks of a diffusion network its features are read at, and how their activations are pooled.

Each activation is divided by its root mean square over channels, so that no channel of a transformer, and no block,
outweighs the others (as in LPIPS, Zhang et al. 2018, https://arxiv.org/abs/1801.03924, Eq. 1); then mean and standard
deviation over positions are taken.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

_SHARES = (0.5, 0.75)
"""Depths in a chain of blocks, of transformers and networks of unknown build."""
_EPS = 1e-6
_LOCK, _OF_THREAD = threading.Lock(), threading.local()
_WATCHED: "WeakSet[nn.Module]" = WeakSet()


def feature_blocks(network: nn.Module) -> dict[str, nn.Module]:
    """Returns the blocks by name, from first to last in a pass.

    Of a UNet the end of its way down, its middle and the end of its way up; of other networks two blocks, at a half and
    three quarters of their longest list of blocks. Empty if the network has neither.
    """
    down, middle, up = (getattr(network, name, None) for name in ("down_blocks", "mid_block", "up_blocks"))
    if isinstance(down, nn.ModuleList) and isinstance(up, nn.ModuleList) and len(down) and len(up):
        ends = {f"down_blocks.{len(down) - 1}": down[-1]}
        ends |= {"mid_block": middle} if isinstance(middle, nn.Module) else {}
        return ends | {f"up_blocks.{len(up) - 1}": up[-1]}
    chains = [(name, chain) for name, chain in network.named_modules() if isinstance(chain, nn.ModuleList)]
    if not any(len(chain) for _, chain in chains):
        return {}
    # The longest one; of equally long ones the first.
    name, chain = max(chains, key=lambda named: len(named[1]))
    places = sorted({min(len(chain) - 1, int(share * len(chain))) for share in _SHARES})
    return {f"{name}.{place}": chain[place] for place in places}


def watch(blocks: Sequence[nn.Module]) -> None:
    """Has blocks tell what they give out, from now on; to be called before other threads use their network.

    A hook that came and went with each pass would change what other threads' passes iterate over.
    """
    with _LOCK:
        for block in blocks:
            if block not in _WATCHED:
                block.register_forward_hook(_keep)
                _WATCHED.add(block)


@contextmanager
def activations(blocks: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Collects what watched blocks give out in this thread's passes: float32, by the block's place in the sequence."""
    seen: dict[int, Tensor] = {}
    _OF_THREAD.seen, _OF_THREAD.places = seen, {block: place for place, block in enumerate(blocks)}
    try:
        yield seen
    finally:
        _OF_THREAD.places = {}


def _keep(module: nn.Module, inputs: Any, output: Any) -> None:
    place = getattr(_OF_THREAD, "places", {}).get(module)
    if place is not None:
        _OF_THREAD.seen[place] = _of_states(output).float()


def pooled(activation: Tensor) -> Tensor:
    """Returns mean and deviation over positions of a block's output `[B, C, H, W]` or `[B, T, C]`: `[B, 2 C]`."""
    values = activation.flatten(2).mT if activation.ndim > 3 else activation
    values = values if values.ndim == 3 else values[:, None]
    values = values / (values.square().mean(2, keepdim=True) + _EPS).sqrt()
    return torch.cat([values.mean(1), values.std(1, correction=0)], dim=1)


def _of_states(output: Any) -> Tensor:
    """The tensor of the states: the image among a UNet's skips, the last of a transformer's two streams."""
    if isinstance(output, Tensor):
        return output
    tensors = [value for value in output if isinstance(value, Tensor)]
    images = [value for value in tensors if value.ndim == 4]
    return images[0] if images else tensors[-1]
