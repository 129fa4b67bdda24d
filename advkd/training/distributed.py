"""Trains in several processes (`torchrun`): the batch is split, gradients are averaged, rank 0 writes.

Every process draws the same random numbers and reads the same batches, of which it keeps its share. So only rounding
depends on the number of processes, and a run can be resumed with another number. `DistributedDataParallel` is not used:
it hooks into `backward()` only, but a step computes gradients with `autograd.grad`, twice through one forward pass.
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
    """This process's rank and the number of processes. All processes must make the same calls in the same order."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """Returns this process's rows of `total`.

        Raises:
            ValueError: the rows cannot be split evenly.
        """
        if total % self.count:
            raise ValueError(
                f"a batch must be split evenly, got batch_size {total} for {self.count} processes; choose a multiple "
                "or another number of processes"
            )
        rows = total // self.count
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Replaces each tensor by its mean over all processes, in one message; all processes get the same bits.

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
        """Averages the gradients of a network's weights over the processes, which gives those of the whole batch.

        A weight must have a gradient in all processes or in none.
        """
        self.average_(weight.grad for weight in network.parameters() if weight.grad is not None)

    def wait(self) -> None:
        """Waits until all processes have made this call.

        Raises:
            ConnectionError: another process ended.
        """
        if self.count > 1:
            with _others_stay():
                dist.barrier()

    def require_alike(self, what: str, value: object) -> None:
        """Raises unless `value` is the same in all processes.

        Raises:
            ValueError: the value differs; the message names the processes.
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
    """Joins the processes of this run, from `torchrun`'s environment; without it, this is the only process.

    Raises:
        ValueError: the machine has fewer GPUs than processes.
        SilencedError: an error after another process has failed, so that only the first error is reported.
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
        # nccl may wait here for processes that have ended, and the error would not be reported.
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
    """Returns whether no other process has failed before; True if the process that counts failures has ended."""
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
