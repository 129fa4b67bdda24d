"""A clock of computing, for plans: what others do on the same cores meanwhile does not count."""

import time
from collections.abc import Callable

import torch


def work_clock(device: str | torch.device, threads: int = 1) -> Callable[[], float]:
    """Returns a clock in seconds: of this thread's computing if it computes alone on a CPU, else of the wall."""
    alone = torch.device(device).type == "cpu" and threads == 1
    return time.thread_time if alone else time.perf_counter
