"""Who observes a run: at fixed instants of its clock, into `<out>/monitors.jsonl`, and with a judgement each time.

The file belongs to the run as its checkpoints do: going on from one cuts the lines that lie beyond it, so that a killed
and resumed run has the file of an undisturbed one. Only the first process writes it; all of them read and judge alike.
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
    """The observations of one run so far, and what they say."""

    def __init__(self, spec: RunSpec, method: Method, out: Path, bounds: AlarmBounds = BOUNDS) -> None:
        """Takes over what `out` holds up to the state's clock, and forgets what lies beyond."""
        self.observations: list[Observation] = []
        self._spec, self._method, self._out, self._bounds = spec, method, out, bounds
        share = spec.batch_size // method.processes.count
        # As few rows as a part of the batch has where memory is short, but a pair for the spread.
        self._rows = min(ROWS, max(2, share // spec.accumulate))
        self._read()

    @property
    def suspicious(self) -> bool:
        """Whether the newest observation was bad; no checkpoint is written until another one is not."""
        return bool(collapsed(self.observations, self._bounds) or exploding(self.observations, self._bounds))

    def look(self, batch: TrajectoryBatch) -> None:
        """Observes where that is due after a step on `batch`, and stops a run that has gone wrong.

        Raises:
            TrainingAlarmError: it has.
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
    """A line's observation; None of one that was torn by a kill."""
    try:
        return Observation.from_json(line) if line.endswith(b"\n") else None
    except ValueError:
        logger.warning("an observation of the run is not readable, and it and later ones are forgotten: %.80r", line)
        return None
