"""Writing one whole shard: check, encode, put the data, put the commit record last (laws 2 and 3)."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.commits import CommitRecord, write_commit
from storage.errors import NonFiniteError
from storage.identity import announce
from storage.layouts import layout_of
from storage.objects import join, write_bytes
from storage.records import ObjectEntry, StateStatistics, utc_now, writer_version
from storage.spec import TrajectorySpec, digest, store_uri


class ShardWriter:
    """The `Writer` of one spec; publishes nothing until a shard is written."""

    def __init__(self, root: str, spec: TrajectorySpec) -> None:
        self.uri = store_uri(root, spec)
        self.spec = spec
        self._announced = False

    def write_shard(
        self, index: int, states: Mapping[int, npt.NDArray[Any]], *, elapsed_seconds: float | None = None
    ) -> CommitRecord:
        """See `base.Writer.write_shard`."""
        started = time.monotonic()
        self._check(index, states)
        stored = {t: self._stored(index, t, states[t]) for t in self.spec.timesteps}
        layout = layout_of(self.spec)
        payloads = layout.encode(self.spec, index, stored)
        keys = [template.format(shard=index) for template in layout.templates(self.spec)]
        if not self._announced:
            announce(self.uri, self.spec)
            self._announced = True
        for key, payload in zip(keys, payloads, strict=True):
            write_bytes(join(self.uri, key), payload)
        record = CommitRecord(
            digest=digest(self.spec),
            shard=index,
            start=index * self.spec.shard_samples,
            stop=(index + 1) * self.spec.shard_samples,
            objects=tuple(
                ObjectEntry(key=key, size=len(payload), sha256=hashlib.sha256(payload).hexdigest())
                for key, payload in zip(keys, payloads, strict=True)
            ),
            statistics={t: _statistics(values) for t, values in stored.items()},
            writer=writer_version(),
            elapsed_seconds=None if elapsed_seconds is None else elapsed_seconds + time.monotonic() - started,
            created=utc_now(),
        )
        write_commit(self.uri, record)
        return record

    def _check(self, index: int, states: Mapping[int, npt.NDArray[Any]]) -> None:
        if index < 0:
            raise ValueError(f"a shard's number must be 0 or more, got {index}; count shards from 0")
        if set(states) != set(self.spec.timesteps):
            raise ValueError(
                f"a shard must hold exactly the timesteps {self.spec.timesteps}, got {tuple(states)}; "
                "capture the spec's grid"
            )
        shape = (self.spec.shard_samples, *self.spec.sample_shape)
        for t, values in states.items():
            if values.shape != shape or not np.issubdtype(values.dtype, np.floating):
                raise ValueError(
                    f"a shard must be written whole, floating states of shape {list(shape)}, got {values.dtype} "
                    f"{list(values.shape)} at timestep {t}; compute all {self.spec.shard_samples} samples, the store "
                    "hides those beyond num_samples"
                )

    def _stored(self, index: int, timestep: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            stored = np.ascontiguousarray(values, dtype=self.spec.dtype)
        finite = np.isfinite(stored).reshape(len(stored), -1).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            what = f"overflow of {self.spec.dtype}" if np.isfinite(values[row]).all() else "NaN or infinity"
            remedy = "store float32" if "overflow" in what else "check the teacher's weights and precision"
            raise NonFiniteError(
                f"stored states must be finite, got {what} in shard {index} at timestep {timestep}, first in sample "
                f"{index * self.spec.shard_samples + row}; {remedy}"
            )
        return stored


def _statistics(stored: npt.NDArray[Any]) -> StateStatistics:
    values = np.asarray(stored, dtype=np.float64)
    return StateStatistics(
        mean=float(values.mean()), std=float(values.std()), min=float(values.min()), max=float(values.max())
    )
