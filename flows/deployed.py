"""The flows that train, as a worker loads them: the entry points of their deployments.

To import this module is to begin a run: it sets the spare child for the training aside, while the process has a single
thread. Other processes, such as that of `prefect deploy`, import it without a run.
"""

import os

from flows.distill import distill
from flows.processes import set_aside
from flows.train import train

__all__ = ["distill", "train"]

if "PREFECT__FLOW_RUN_ID" in os.environ:
    set_aside()
