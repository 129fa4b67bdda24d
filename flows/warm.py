"""`python -m flows.warm SOCKET`: imports every flow, then forks the processes of runs (`flows.processes.fork_server`).

A run imports `flows.deployed` at once, before Prefect starts a thread: the spare child of its training is set aside.
"""

import importlib
import runpy
import sys
from contextlib import suppress

import prefect.flow_engine
import prefect.main  # noqa: F401
from prefect.context import refresh_global_settings_context
from prefect.logging.configuration import setup_logging

import flows.distill
import flows.evaluate
import flows.export
import flows.precompute
import flows.train
import flows.watch  # noqa: F401
from flows.processes import become, run_fork_server

_LATER = (
    "advkd.teachers.digits",
    "mlflow.store.tracking.sqlalchemy_store",
    "onnxscript",
    "sklearn.decomposition",
    "sklearn.mixture",
    "torch._export.serde.schema",
    "zarr",
)
"""What stages import when they need it, 6 s of CPU time in all. Not onnxruntime, whose import starts a thread."""


def import_later() -> None:
    """Imports what stages would import later."""
    for name in _LATER:
        with suppress(ImportError):
            importlib.import_module(name)


if __name__ == "__main__":
    import_later()
    order = run_fork_server(sys.argv[1])
    become(order)
    # The run's settings are those of its environment.
    refresh_global_settings_context()
    setup_logging(incremental=False)
    importlib.import_module("flows.deployed")
    # It was imported by Prefect itself; `runpy` warns of that.
    sys.modules.pop(order.module, None)
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)
