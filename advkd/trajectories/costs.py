"""What an object store bills: requests by their kind, and prices for them, for bytes and for workers."""

from dataclasses import dataclass, fields

_GIGABYTE = 10**9


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Requests to an object store, as they are billed."""

    put: int = 0
    """PUT."""
    get: int = 0
    """GET and HEAD, also those that find nothing."""
    list: int = 0
    """LIST, one per 1000 keys; billed like PUT."""

    def __add__(self, other: "Requests") -> "Requests":
        return Requests(put=self.put + other.put, get=self.get + other.get, list=self.list + other.list)

    def __mul__(self, times: int) -> "Requests":
        return Requests(put=times * self.put, get=times * self.get, list=times * self.list)


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What a provider asks, in USD; 0 where it asks nothing."""

    thousand_puts: float = 0.0
    """Per 1000 PUT or LIST."""
    thousand_gets: float = 0.0
    """Per 1000 GET or HEAD."""
    gigabyte_month: float = 0.0
    """Per 10^9 bytes held for a month."""
    gigabyte_read: float = 0.0
    """Per 10^9 bytes read; providers ask for it where the reader is outside of their network."""
    worker_hour: float = 0.0
    """Per hour of one worker."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"a price must be a finite number of USD, 0 or more, got {value}; correct {field.name}"
                )

    def requests(self, asked: Requests) -> float:
        """USD for some requests."""
        return (asked.put + asked.list) / 1000 * self.thousand_puts + asked.get / 1000 * self.thousand_gets

    def month(self, size: int) -> float:
        """USD for holding bytes for a month."""
        return size / _GIGABYTE * self.gigabyte_month

    def reading(self, size: int) -> float:
        """USD for reading bytes, the requests apart."""
        return size / _GIGABYTE * self.gigabyte_read


@dataclass(frozen=True, kw_only=True)
class Costs:
    """USD."""

    compute: float | None
    """Of the busy workers; None without a teacher's speed."""
    making: float
    """Of the requests of precompute and seal."""
    month: float
    """Of holding the store for a month."""
    epoch: float
    """Of opening the store and reading it once."""
