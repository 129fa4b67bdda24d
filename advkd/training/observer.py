"""Observes a run at fixed instants of its clock, writes `<out>/monitors.jsonl`, and raises alarms.

A run that continues from a checkpoint removes the lines after it, so a killed and resumed run has the same file as an
uninterrupted one. Only the first process writes the file; all processes read it and raise the same alarms.
"""

import logging
import os
from pathlib import Path

from advkd.training.alarms import BOUNDS, AlarmBounds, collapsed, exploding, raise_alarms, refuse_non_finite_observation
from advkd.training.data import TrajectoryBatch
from advkd.training.methods import Method
from advkd.training.monitors import ROWS, observe
from advkd.training.observation import Observation
from advkd.training.run_spec import RunSpec

logger = logging.getLogger(__name__)

LOG = "monitors.jsonl"


class Observer:
    """The observations of one run so far."""

    def __init__(self, spec: RunSpec, method: Method, out: Path, bounds: AlarmBounds = BOUNDS) -> None:
        """Reads the observations in `out` up to the state's clock, and drops later ones."""
        self.observations: list[Observation] = []
        self._spec, self._method, self._out, self._bounds = spec, method, out, bounds
        share = spec.batch_size // method.processes.count
        # No more rows than a part of the batch, in case memory is short, but at least two for the spread.
        self._rows = min(ROWS, max(2, share // spec.accumulate))
        self._read()

    @property
    def suspicious(self) -> bool:
        """Whether the newest observation was bad; then no checkpoint is written until a good one follows."""
        return bool(collapsed(self.observations, self._bounds) or exploding(self.observations, self._bounds))

    def look(self, batch: TrajectoryBatch) -> None:
        """Observes the networks if an observation is due after a step on `batch`, and stops a run that has gone wrong.

        Raises:
            TrainingAlarmError: the run has gone wrong.
        """
        spec, samples = self._spec, self._method.state.samples
        due = samples // spec.monitor_every > (samples - spec.batch_size) // spec.monitor_every
        if not due and samples < spec.steps * spec.batch_size:
            return
        seen = observe(self._method, batch, self._rows)
        refuse_non_finite_observation(seen, self._out)
        self.observations.append(seen)
        if self._method.processes.first:
            with (self._out / LOG).open("a", encoding="utf-8") as log:
                log.write(seen.to_json() + "\n")
        if self.suspicious:
            logger.warning("the networks look bad after %d samples: checkpoints wait for a good observation", samples)
        raise_alarms(spec, self.observations, self._out, self._bounds)

    def _read(self) -> None:
        path = self._out / LOG
        if not path.is_file():
            return
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True):
            seen = _parsed(line)
            if seen is None or seen.samples > self._method.state.samples:
                break
            self.observations.append(seen)
            whole += len(line)
        if self._method.processes.first:
            os.truncate(path, whole)


def _parsed(line: bytes) -> Observation | None:
    """Parses a line; returns None if a kill has truncated it."""
    try:
        return Observation.from_json(line) if line.endswith(b"\n") else None
    except ValueError:
        logger.warning("an observation of the run is not readable, and it and later ones are forgotten: %.80r", line)
        return None
