"""Logs the counters of a distillation's stages as metrics of the MLflow run of its registered version."""

from collections.abc import Mapping
from dataclasses import asdict

from advkd.registry.tracking import RegisteredModel
from advkd.registry.versions import open_registry, quiet
from advkd.runtime import StageCounters


def log_counters(model: RegisteredModel, counters: Mapping[str, StageCounters], runs: str) -> None:
    """Logs metrics `<stage>.<counter>`, such as `precompute.passes`, of the run that made a version.

    Args:
        model: version that the run made.
        counters: counters by stage.
        runs: folder of the registry, see `RegisterSpec`.

    Raises:
        MlflowException: the registry did not answer.
    """
    with quiet():
        client = open_registry(runs)
        for stage, counted in counters.items():
            for name, value in asdict(counted).items():
                client.log_metric(model.run_id, f"{stage}.{name}", float(value))
