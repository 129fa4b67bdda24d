"""A thread beside each flow run, and a hook, that end its process where Prefect alone would not.

- **Time-outs.** Prefect's reach a thread between two byte codes: not while torch, a driver or a file system blocks. A
  flow that is still running some seconds after its `timeout_seconds` is marked TimedOut and its process is killed.
- **Cancelling.** The worker that started the run ends its process; not if that worker was killed, and not if the server
  was started anew meanwhile, after which Prefect's workers hear of no cancellation. Then the run ends itself.
- **Crash loops.** A run that crashed is run again by the server (`flows.serving.automations`), but not for ever.
- **A server that does not answer** when its patience is over is no failure of the flow: the run has crashed, and is run
  again when the server is there.

Only processes that exist for a run are ended: those of a worker and of `python -m flows.<name>`.
"""

import contextlib
import contextvars
import logging
import os
import signal
import threading
import time
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL

from flows.processes.process_tree import descendants, end

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
GRACE_SECONDS = 4.0
"""How long a run may take to end as Prefect asked it to, before it is made to."""
MAX_RUNS = 10
"""How often a run is begun before it counts as failed for good."""

_UNABLE = (429, 502, 503, 504)

_own_process = False


def own_this_process() -> None:
    """Says that this process exists for a flow run alone, and ends with it."""
    global _own_process
    _own_process = True


def supervise(flow: "Flow[..., object]", run: FlowRun, state: State) -> None:
    """Starts the thread; a hook for `on_running`."""
    if not (_own_process or os.environ.get("PREFECT__FLOW_RUN_ID")):
        return
    limit = None if flow.timeout_seconds is None else time.monotonic() + flow.timeout_seconds + GRACE_SECONDS
    # The settings that tell the server's address are of this context.
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(_watch, run.id, flow.name, limit), name=f"supervision of {flow.name}", daemon=True
    ).start()


def crash_if_cut_off(flow: "Flow[..., object]", run: FlowRun, state: State) -> None:
    """Has a run of a worker go on later, if what failed is a request to the server; a hook for `on_failure`."""
    error = state.result(raise_on_failure=False)
    if os.environ.get("PREFECT__FLOW_RUN_ID") and isinstance(error, httpx.HTTPError) and _cut_off(error):
        with get_client(sync_client=True) as client:
            message = f"the server did not answer: {type(error).__name__}"
            _give_up(client, run.id, StateType.CRASHED, "Crashed", message)


def _cut_off(error: httpx.HTTPError) -> bool:
    """Whether Prefect's server was asked and gave no answer, or was unable to, as while SQLite is locked."""
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in _UNABLE:
        return False
    # httpx raises where the request is not known.
    with contextlib.suppress(RuntimeError):
        return str(error.request.url).startswith(str(PREFECT_API_URL.value()))
    return False


def _watch(run_id: UUID, name: str, limit: float | None) -> None:
    cancelling_since: float | None = None
    with get_client(sync_client=True) as client:
        while True:
            time.sleep(LOOK_SECONDS)
            run = _read(client, run_id)
            state = None if run is None else run.state
            now = time.monotonic()
            if limit is not None and now > limit and (state is None or state.type == StateType.RUNNING):
                _give_up(client, run_id, StateType.FAILED, "TimedOut", f"flow {name!r} was blocked beyond its time-out")
            if run is None or state is None:
                continue
            if run.run_count > MAX_RUNS and state.type == StateType.RUNNING:
                _give_up(client, run_id, StateType.FAILED, "CrashLoop", f"begun {MAX_RUNS} times and crashed each time")
            if state.type == StateType.CANCELLING:
                cancelling_since = cancelling_since or now
                if now - cancelling_since > GRACE_SECONDS:
                    _give_up(client, run_id, StateType.CANCELLED, "Cancelled", "the run ended itself")
            elif state.is_final():
                return


def _read(client: SyncPrefectClient, run_id: UUID) -> FlowRun | None:
    try:
        return client.read_flow_run(run_id)
    except Exception as error:
        # Without a server there is nothing to be told; time-outs hold all the same.
        logger.debug("the state of run %s is not known: %s", run_id, error)
        return None


def _give_up(client: SyncPrefectClient, run_id: UUID, kind: StateType, name: str, message: str) -> None:
    """Writes the end of a run, and of the runs that it is a part of, and kills this process and what it started."""
    for one in {run_id, UUID(os.environ.get("PREFECT__FLOW_RUN_ID", str(run_id)))}:
        try:
            client.set_flow_run_state(one, State(type=kind, name=name, message=message), force=True)
        except Exception as error:
            logger.warning("the end of run %s could not be told to the server: %s", one, error)
    logger.error("%s: this process is killed", message)
    end(descendants(os.getpid()), 1.0)
    os.kill(os.getpid(), signal.SIGKILL)
