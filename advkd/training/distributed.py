"""One training run in several processes (`torchrun`): the batch is split, gradients are averaged, rank 0 writes.

Every process draws the same random numbers and reads the same batches, of which it keeps its share, so that nothing
but rounding depends on how many there are, and a run may go on with another number. `DistributedDataParallel` is not
used: it hooks into `backward()` alone, and a step takes gradients with `autograd.grad`, twice through one forward.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """This process's rows of `total`.

        Raises:
            ValueError: they cannot be split evenly.
        """
        if total % self.count:
            raise ValueError(
                f"a batch must be split evenly, got batch_size {total} for {self.count} processes; choose a multiple "
                "or another number of processes"
            )
        rows = total // self.count
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Replaces each tensor by its mean over all processes, in one message."""
        found = list(tensors)
        if self.count == 1 or not found:
            return
        flat = torch.cat([tensor.reshape(-1).float() for tensor in found])
        dist.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(found, flat.split([tensor.numel() for tensor in found]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def average_gradients(self, network: nn.Module) -> None:
        """The gradients of a network's weights as one process would have them for the whole batch."""
        self.average_(weight.grad for weight in network.parameters() if weight.grad is not None)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()


ALONE = Processes()


def started_by_torchrun() -> bool:
    """Whether this process is one of several, as `torchrun` tells through the environment."""
    return all(name in os.environ for name in _NAMES)


def writes() -> bool:
    """Whether this process is the one that speaks and writes."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """All processes of this run, from `torchrun`'s environment; without that, this one alone."""
    if not started_by_torchrun():
        yield ALONE
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
