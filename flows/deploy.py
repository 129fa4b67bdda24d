"""`python -m flows.deploy`: the work pools where they are missing, then every deployment of `prefect.yaml`.

Safe to run again. Needs a server: PREFECT_API_URL, or the profile that Prefect is set to.
"""

import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from advkd.progress import console
from flows.schedules import check_schedules

WORK_POOLS = ("cpu", "gpu")
CHECKOUT = Path(__file__).resolve().parent.parent


def deploy() -> int:
    """Creates what is missing and returns the exit code of `prefect deploy --all`."""
    if not PREFECT_API_URL.value():
        console().print(
            "error: a deployment needs a Prefect server, got no PREFECT_API_URL; run `prefect server start` and "
            "`export PREFECT_API_URL=http://127.0.0.1:4200/api`",
            style="red",
            soft_wrap=True,
        )
        return 2
    try:
        check_schedules(CHECKOUT / "prefect.yaml")
    except ValueError as error:
        console().print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    for name in WORK_POOLS:
        create_work_pool(name)
    # No questions: the answer to the only one, where the code comes from, is this clone.
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    return subprocess.run(command, cwd=CHECKOUT, check=False).returncode


def create_work_pool(name: str) -> None:
    """Creates a work pool of type process; one that is there is left as it is."""
    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template)
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(pool)
        except ObjectAlreadyExists:
            return
    console().print(f"work pool {name!r} created")


if __name__ == "__main__":
    sys.exit(deploy())
