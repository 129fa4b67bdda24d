"""Costs of an object store and of workers: requests by kind, prices, and sums in USD."""

from dataclasses import dataclass, fields

_GIGABYTE = 10**9


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Numbers of requests to an object store, by billed kind."""

    put: int = 0
    """Number of PUT requests."""
    get: int = 0
    """Number of GET and HEAD requests, including those that find nothing."""
    list: int = 0
    """Number of LIST requests, one per 1000 keys; billed like PUT."""

    def __add__(self, other: "Requests") -> "Requests":
        return Requests(put=self.put + other.put, get=self.get + other.get, list=self.list + other.list)

    def __mul__(self, times: int) -> "Requests":
        return Requests(put=times * self.put, get=times * self.get, list=times * self.list)


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices of a provider in USD; 0 if something is free."""

    thousand_puts: float = 0.0
    """Price per 1000 PUT or LIST requests."""
    thousand_gets: float = 0.0
    """Price per 1000 GET or HEAD requests."""
    gigabyte_month: float = 0.0
    """Price per 10^9 bytes stored for a month."""
    gigabyte_read: float = 0.0
    """Price per 10^9 bytes read; providers charge readers outside of their network."""
    worker_hour: float = 0.0
    """Price per hour of one worker."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"a price must be a finite number of USD, 0 or more, got {value}; correct {field.name}"
                )

    def requests(self, asked: Requests) -> float:
        """Returns the price of requests."""
        return (asked.put + asked.list) / 1000 * self.thousand_puts + asked.get / 1000 * self.thousand_gets

    def month(self, size: int) -> float:
        """Returns the price of storing `size` bytes for a month."""
        return size / _GIGABYTE * self.gigabyte_month

    def reading(self, size: int) -> float:
        """Returns the price of reading `size` bytes, without the requests."""
        return size / _GIGABYTE * self.gigabyte_read


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of a store in USD."""

    compute: float | None
    """Costs of the workers while they compute; None if the teacher's speed is unknown."""
    making: float
    """Costs of the requests of precompute and seal."""
    month: float
    """Costs of storing the data for a month."""
    epoch: float
    """Costs of opening the store and reading it once."""
