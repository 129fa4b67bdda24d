"""A thread and a hook for each flow run that end its process where Prefect alone would not.

- **Time-outs.** Prefect's time-outs reach a thread only between two byte codes, not while torch, a driver or a file
  system blocks. A flow that is still running some seconds after its `timeout_seconds` is marked TimedOut, and its
  process is killed.
- **Cancelling.** Normally the worker that started the run ends its process. It does not if it was killed, or if the
  server was restarted meanwhile, after which Prefect's workers receive no cancellations. Then the run ends itself.
- **Crash loops.** The server runs a crashed run again (`flows.serving.automations`), but not for ever.
- **Lost servers.** If the server stops answering, the flow has not failed: the run is marked Crashed and is run again
  when the server is back.

Only processes that exist for a single run are ended: those of a worker and of `python -m flows.<name>`.
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
"""How long a run may take to end by itself after Prefect's request, before its process is killed."""
MAX_RUNS = 10
"""How often a run is started before it counts as failed."""

_UNABLE = (429, 502, 503, 504)

_own_process = False


def own_this_process() -> None:
    """Declares that this process exists for a flow run alone, so that supervision may end it."""
    global _own_process
    _own_process = True


def supervise(flow: "Flow[..., object]", run: FlowRun, state: State) -> None:
    """Starts the supervising thread of a run; a hook for `on_running`."""
    if not (_own_process or os.environ.get("PREFECT__FLOW_RUN_ID")):
        return
    limit = None if flow.timeout_seconds is None else time.monotonic() + flow.timeout_seconds + GRACE_SECONDS
    # The server's address is a setting of this context.
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(_watch, run.id, flow.name, limit), name=f"supervision of {flow.name}", daemon=True
    ).start()


def crash_if_cut_off(flow: "Flow[..., object]", run: FlowRun, state: State) -> None:
    """Marks a worker's run Crashed, to be run again, if the server did not answer; a hook for `on_failure`."""
    error = state.result(raise_on_failure=False)
    if os.environ.get("PREFECT__FLOW_RUN_ID") and isinstance(error, httpx.HTTPError) and _cut_off(error):
        with get_client(sync_client=True) as client:
            message = f"the server did not answer: {type(error).__name__}"
            _give_up(client, run.id, StateType.CRASHED, "Crashed", message)


def _cut_off(error: httpx.HTTPError) -> bool:
    """Returns whether a request to Prefect's server got no answer, or an answer such as 503 while SQLite is locked."""
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in _UNABLE:
        return False
    # httpx raises if the error has no request.
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
        # Without a server, time-outs still hold.
        logger.debug("the state of run %s is not known: %s", run_id, error)
        return None


def _give_up(client: SyncPrefectClient, run_id: UUID, kind: StateType, name: str, message: str) -> None:
    """Sets the final state of a run and of its parent, then kills this process and everything that it started."""
    for affected in {run_id, UUID(os.environ.get("PREFECT__FLOW_RUN_ID", str(run_id)))}:
        try:
            client.set_flow_run_state(affected, State(type=kind, name=name, message=message), force=True)
        except Exception as error:
            logger.warning("the end of run %s could not be reported to the server: %s", affected, error)
    logger.error("%s: this process is killed", message)
    end(descendants(os.getpid()), 1.0)
    os.kill(os.getpid(), signal.SIGKILL)
