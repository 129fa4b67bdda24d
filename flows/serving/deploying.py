"""`python -m flows.deploy`: creates work pools, queues, every deployment of `prefect.yaml`, and the automations.

It is safe to run again: existing pools and queues stay as they are, with the limits that a user set. It needs a server,
named by PREFECT_API_URL or by the active Prefect profile.
"""

import os
import subprocess
import sys
from contextlib import suppress

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from advkd.runtime import console
from flows.processes import shards_per_gpu, why_no_answer
from flows.serving.automations import create_automations
from flows.serving.declared import declaration, working_folder
from flows.serving.schedules import check_schedules

PRECOMPUTE_QUEUE = "precompute"
"""Queue of precompute runs, which may share a GPU with a training."""

TRAINING_QUEUE = "training"
"""Queue of training runs: each has a GPU that it shares at most with precomputes."""


def pool_limits() -> dict[str, int]:
    """Returns the limit of concurrent flow runs per work pool: one per two cores for `cpu`, its queues' sum for `gpu`.

    The server counts runs by their states, so a worker that is killed by SIGKILL leaks no slot.
    """
    return {"cpu": max(2, (os.cpu_count() or 1) // 2), "gpu": sum(queue_limits("gpu").values())}


def gpu_count() -> int:
    """Returns the number of CUDA devices. Imports torch late, because upkeep, which runs for days, needs none."""
    import torch

    return torch.cuda.device_count()


def queue_limits(pool: str) -> dict[str, int]:
    """Returns the limit of concurrent runs per work queue: per GPU, one training and `shards_per_gpu` precomputes."""
    if pool == "gpu":
        gpus = max(1, gpu_count())
        return {TRAINING_QUEUE: gpus, PRECOMPUTE_QUEUE: gpus * shards_per_gpu()}
    return {PRECOMPUTE_QUEUE: max(1, pool_limits()[pool] // 2)}


def deploy() -> int:
    """Creates what is missing; returns the exit code of `prefect deploy --all`, or 2 if there is no server."""
    url = PREFECT_API_URL.value()
    if not url:
        return _refuse(
            "a deployment needs a Prefect server, got no PREFECT_API_URL; run `prefect server start` and "
            "`export PREFECT_API_URL=http://127.0.0.1:4200/api`"
        )
    try:
        shards_per_gpu()
        check_schedules(declaration())
    except ValueError as error:
        return _refuse(str(error))
    try:
        with get_client(sync_client=True) as client:
            client.hello().raise_for_status()
            for name, limit in pool_limits().items():
                _create_work_pool(client, name, limit)
    except httpx.HTTPError as error:
        return _refuse(f"a deployment needs a Prefect server that answers, but {why_no_answer(error, url)}")
    # Prefect would only ask where the code comes from; the answer is the folder in which it is called.
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(declaration())]
    code = subprocess.run(command, cwd=working_folder(), check=False).returncode
    if code == 0:
        for changed in create_automations():
            console().print(changed, markup=False, soft_wrap=True)
    return code


def _create_work_pool(client: SyncPrefectClient, name: str, limit: int) -> None:
    """Creates a work pool of type process with its queues; leaves existing ones unchanged."""
    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template, concurrency_limit=limit)
    try:
        client.create_work_pool(pool)
        console().print(f"work pool {name!r} created, {limit} runs at a time")
    except ObjectAlreadyExists:
        pass
    for queue, runs in queue_limits(name).items():
        with suppress(ObjectAlreadyExists):
            client.create_work_queue(name=queue, work_pool_name=name, concurrency_limit=runs)


def _refuse(message: str) -> int:
    console().print(f"error: {message}", style="red", markup=False, soft_wrap=True)
    return 2
