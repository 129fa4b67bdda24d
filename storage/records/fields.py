"""The JSON fields that commit records, manifest and `spec.json` share. Unknown keys are refused."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np

from storage.errors import ManifestError
from storage.records.encoding import StateTally
from storage.records.spec import LAYOUT_VERSION

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CRC32S = re.compile(r"([0-9a-f]{8})*")
_KEY = re.compile(r"(?!\.{1,2}(/|$))[A-Za-z0-9._-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)*")


@dataclass(frozen=True, kw_only=True)
class ObjectEntry:
    """One object of a store."""

    key: str
    """Key of the object, relative to the store."""
    size: int
    """Size in bytes."""
    sha256: str
    """sha256 of the object, 64 hex digits."""

    crc32: tuple[int, ...] = field(default=(), compare=False)
    """crc32 of the object's pieces of `ranges.PIECE_BYTES`, in order, for ranged reads; may be empty."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        entry = {"key": self.key, "bytes": self.size, "sha256": self.sha256}
        return entry | ({"crc32": "".join(f"{value:08x}" for value in self.crc32)} if self.crc32 else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ObjectEntry":
        """Inverts `to_json`; raises `ManifestError` for any other data."""
        optional = ("crc32",) if isinstance(data, Mapping) and "crc32" in data else ()
        require_keys("an object entry", data, ("key", "bytes", "sha256", *optional))
        return cls(
            key=downwards(data["key"]),
            size=whole_number("bytes", data["bytes"]),
            sha256=sha256_digits(data["sha256"]),
            crc32=_checksums(data.get("crc32", "")),
        )


@dataclass(frozen=True, kw_only=True)
class StateStatistics:
    """Statistics in float64 over all values of one timestep that readers get, and the errors that storing added."""

    mean: float
    std: float
    min: float
    max: float
    max_error: float
    """Largest rounding error at the stored resolution."""
    rms_error: float
    """Root mean square of the rounding error."""
    rms_detail: float
    """Root mean square of state minus box mean, the detail that a smaller resolution loses; 0 in full resolution."""

    def to_json(self) -> dict[str, float]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in _STATISTICS}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "StateStatistics":
        """Inverts `to_json`; raises `ManifestError` for any other data."""
        require_keys("statistics", data, _STATISTICS)
        return cls(**{name: finite_number(name, value) for name, value in data.items()})

    @classmethod
    def of(cls, tally: StateTally) -> "StateStatistics":
        """Returns the statistics of the blocks that were added to a tally."""
        mean = tally.total / tally.count
        return cls(
            mean=mean,
            std=math.sqrt(max(tally.squares / tally.count - mean**2, 0.0)),
            min=tally.smallest,
            max=tally.largest,
            max_error=tally.largest_error,
            rms_error=math.sqrt(tally.error_squares / tally.count),
            rms_detail=math.sqrt(tally.detail_squares / tally.count),
        )


_STATISTICS = tuple(field.name for field in fields(StateStatistics))


def pooled(parts: Iterable[tuple[int, StateStatistics]]) -> StateStatistics:
    """Returns the statistics over the union of parts, each weighted by its number of shards."""
    count, sums = 0, dict.fromkeys(("mean", "squares", "error", "detail"), 0.0)
    extremes = [math.inf, -math.inf, 0.0]
    for shards, part in parts:
        count += shards
        sums["mean"] += shards * part.mean
        sums["squares"] += shards * (part.std**2 + part.mean**2)
        sums["error"] += shards * part.rms_error**2
        sums["detail"] += shards * part.rms_detail**2
        extremes = [min(extremes[0], part.min), max(extremes[1], part.max), max(extremes[2], part.max_error)]
    mean = sums["mean"] / count
    return StateStatistics(
        mean=mean,
        std=math.sqrt(max(sums["squares"] / count - mean**2, 0.0)),
        min=extremes[0],
        max=extremes[1],
        max_error=extremes[2],
        rms_error=math.sqrt(sums["error"] / count),
        rms_detail=math.sqrt(sums["detail"] / count),
    )


def statistics_from_json(data: object) -> dict[int, StateStatistics]:
    """Parses statistics by timestep, as commit records and manifests hold them; else raises `ManifestError`."""
    if not isinstance(data, Mapping) or any(not timestep.isdecimal() for timestep in data):
        raise ManifestError("statistics must be a JSON object with one entry per timestep; the record is damaged")
    return {int(timestep): StateStatistics.from_json(values) for timestep, values in data.items()}


def whole_number(what: str, value: object) -> int:
    """Returns the value if it is an integer of 0 or more, else raises `ManifestError`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ManifestError(f"{what} must be a whole number of 0 or more, got {value!r}; the record is damaged")
    return value


def finite_number(what: str, value: object) -> float:
    """Returns the value as a float if it is a finite number, else raises `ManifestError`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ManifestError(f"{what} must be a finite number, got {value!r}; the record is damaged")
    return float(value)


def text(what: str, value: object) -> str:
    """Returns the value if it is a string, else raises `ManifestError`."""
    if not isinstance(value, str):
        raise ManifestError(f"{what} must be a text, got {value!r}; the record is damaged")
    return value


def list_of(what: str, value: object) -> list[Any]:
    """Returns the value if it is a list, else raises `ManifestError`."""
    if not isinstance(value, list):
        raise ManifestError(f"{what} must be a list, got {type(value).__name__}; the record is damaged")
    return value


def downwards(key: object) -> str:
    """Returns the value if it is a key that stays within its store, else raises `ManifestError`."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ManifestError(
            f"the key of an object must lead downwards from its store, in plain names, got {key!r}; the record is "
            "damaged or forged"
        )
    return key


def _checksums(value: object) -> tuple[int, ...]:
    """Parses numbers of 8 hex digits each, without separators."""
    if not isinstance(value, str) or not _CRC32S.fullmatch(value):
        raise ManifestError(f"a crc32 must be 8 hex digits per piece, got {value!r:.99}; the record is damaged")
    numbers: list[int] = np.frombuffer(bytes.fromhex(value), dtype=">u4").tolist()
    return tuple(numbers)


def sha256_digits(value: object) -> str:
    """Returns the value if it is 64 lower-case hex digits, else raises `ManifestError`."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ManifestError(f"a sha256 must be 64 hex digits, got {value!r}; the record is damaged")
    return value


def require_keys(what: str, data: object, keys: Iterable[str]) -> None:
    """Raises `ManifestError` unless `data` is a mapping with exactly these keys."""
    expected = set(keys)
    if not isinstance(data, Mapping):
        raise ManifestError(f"{what} must be a JSON object, got {type(data).__name__}; the file is foreign or damaged")
    if set(data) != expected:
        raise ManifestError(
            f"{what} has exactly the keys {sorted(expected)}; missing {sorted(expected - set(data))}, unknown "
            f"{sorted(set(data) - expected)}; open it with the release that wrote it"
        )


def require_layout_version(what: str, data: object) -> None:
    """Raises `ManifestError` for another layout version; call it before any other check."""
    version = data.get("layout_version") if isinstance(data, Mapping) else None
    if version != LAYOUT_VERSION or not isinstance(version, int) or isinstance(version, bool):
        raise ManifestError(
            f"{what} must have layout version {LAYOUT_VERSION}, got {version!r}; "
            "it is foreign or newer: open it with the release that wrote it"
        )


def utc_now() -> str:
    """Returns the present time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
