"""One training run in several processes (`torchrun`): the batch is split, gradients are averaged, rank 0 writes.

Every process draws the same random numbers and reads the same batches, of which it keeps its share, so that nothing
but rounding depends on how many there are, and a run may go on with another number. `DistributedDataParallel` is not
used: it hooks into `backward()` alone, and a step takes gradients with `autograd.grad`, twice through one forward.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from advkd.device import torch_device
from advkd.runtime import SilencedError, alike_on_this_machine, local_count, local_rank, started_by_torchrun


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is. All of them must make the same calls in the same order."""

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
        """Replaces each tensor by its mean over all processes, in one message; to the same bits in all of them.

        Raises:
            ConnectionError: another process ended.
        """
        averaged = list(tensors)
        if self.count == 1 or not averaged:
            return
        flat = torch.cat([tensor.reshape(-1).float() for tensor in averaged])
        with _others_stay():
            dist.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(averaged, flat.split([tensor.numel() for tensor in averaged]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def average_gradients(self, network: nn.Module) -> None:
        """The gradients of a network's weights as one process would have them for the whole batch.

        A weight without a gradient must be without one in every process.
        """
        self.average_(weight.grad for weight in network.parameters() if weight.grad is not None)

    def wait(self) -> None:
        """Until all processes are here.

        Raises:
            ConnectionError: another process ended.
        """
        if self.count > 1:
            with _others_stay():
                dist.barrier()

    def require_alike(self, what: str, value: object) -> None:
        """Refuses to go on where `value` is another one in another process.

        Raises:
            ValueError: naming the processes where it is.
        """
        if self.count == 1:
            return
        values: list[object] = [None] * self.count
        with _others_stay():
            dist.all_gather_object(values, value)
        others = [rank for rank, other in enumerate(values) if other != values[0]]
        if others:
            raise ValueError(
                f"all processes of a run must have the same {what}, got others in {others} than in process 0; give "
                "them the same command, and a folder and a store that all of them see"
            )


ALONE = Processes()


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """All processes of this run, from `torchrun`'s environment; without that, this one alone.

    Raises:
        ValueError: no GPU for each process of this machine.
        SilencedError: instead of an error that another process raised before, so that it is told once.
    """
    if not started_by_torchrun():
        yield ALONE
        return
    with alike_on_this_machine():
        gpu = _chosen_gpu(device)
    dist.init_process_group("gloo" if gpu is None else "nccl", device_id=gpu)
    failed = False
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    except (Exception, KeyboardInterrupt) as error:
        failed = True
        if isinstance(error, KeyboardInterrupt) or _first_to_fail():
            raise
        raise SilencedError("another process of the run says what is wrong") from error
    finally:
        # nccl may wait here for processes that are gone, and what went wrong would not be told.
        if gpu is None or not failed:
            dist.destroy_process_group()


def _chosen_gpu(device: str) -> torch.device | None:
    if not device.startswith("cuda"):
        return None
    if device != "cuda":
        raise ValueError(f"several processes take a GPU each, so device must be cuda, got {device!r}; give cuda")
    torch_device(f"cuda:{local_count() - 1}")
    torch.cuda.set_device(local_rank())
    return torch.device("cuda", local_rank())


def _first_to_fail() -> bool:
    """Whether no other process has failed before; where the one that counts is gone, it was the first."""
    try:
        return dist.distributed_c10d._get_default_store().add("advkd_failed", 1) == 1
    except RuntimeError:
        return False


@contextmanager
def _others_stay() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            f"all processes of a run must stay to its end, got a lost connection ({str(error).splitlines()[0]}); see "
            "what ended the others, and run the same again to go on from the last checkpoint"
        ) from error
