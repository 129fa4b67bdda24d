"""How records are written as JSON: what commits, manifest and `spec.json` share. Unknown keys are refused."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from storage.errors import ManifestError
from storage.spec import LAYOUT_VERSION


@dataclass(frozen=True, kw_only=True)
class ObjectEntry:
    """One object of a store."""

    key: str
    """Relative to the store."""
    size: int
    """Bytes."""
    sha256: str
    """64 hex digits."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"key": self.key, "bytes": self.size, "sha256": self.sha256}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ObjectEntry":
        """The inverse of `to_json`."""
        require_keys("an object entry", data, ("key", "bytes", "sha256"))
        return cls(key=str(data["key"]), size=int(data["bytes"]), sha256=str(data["sha256"]))


@dataclass(frozen=True, kw_only=True)
class StateStatistics:
    """Over all stored values of one timestep, in float64."""

    mean: float
    std: float
    min: float
    max: float

    def to_json(self) -> dict[str, float]:
        """Plain JSON."""
        return {"mean": self.mean, "std": self.std, "min": self.min, "max": self.max}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "StateStatistics":
        """The inverse of `to_json`."""
        require_keys("statistics", data, ("mean", "std", "min", "max"))
        return cls(**{name: float(value) for name, value in data.items()})


def pooled(parts: Iterable[StateStatistics]) -> StateStatistics:
    """Statistics over the union of equally large parts."""
    shards = list(parts)
    mean = sum(part.mean for part in shards) / len(shards)
    # The variance of a union is the mean variance plus the variance of the means.
    variance = sum(part.std**2 + (part.mean - mean) ** 2 for part in shards) / len(shards)
    return StateStatistics(
        mean=mean, std=variance**0.5, min=min(part.min for part in shards), max=max(part.max for part in shards)
    )


def require_keys(what: str, data: object, keys: Iterable[str]) -> None:
    """Raise `ManifestError` unless `data` is a mapping with exactly these keys."""
    expected = set(keys)
    if not isinstance(data, Mapping):
        raise ManifestError(f"{what} must be a JSON object, got {type(data).__name__}; the file is foreign or damaged")
    if set(data) != expected:
        raise ManifestError(
            f"{what} has exactly the keys {sorted(expected)}; missing {sorted(expected - set(data))}, unknown "
            f"{sorted(set(data) - expected)}; open it with the release that wrote it"
        )


def require_layout_version(what: str, data: object) -> None:
    """Raise `ManifestError` for another layout version, before anything else is looked at."""
    found = data.get("layout_version") if isinstance(data, Mapping) else None
    if found != LAYOUT_VERSION:
        raise ManifestError(
            f"{what} must have layout version {LAYOUT_VERSION}, got {found!r}; "
            "it is foreign or newer: open it with the release that wrote it"
        )


def utc_now() -> str:
    """Now, as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def writer_version() -> str:
    """Name and version of this package, for the records."""
    try:
        return f"advkd {version('advkd')}"
    except PackageNotFoundError:
        return "advkd (not installed)"
