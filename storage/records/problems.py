"""Problems with objects of a store, in one form for `verify` and readers."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from typing_extensions import Buffer

from storage.records.fields import ObjectEntry
from storage.records.unstored_noise import NOISE


@dataclass(frozen=True, kw_only=True)
class ShardProblem:
    """One object that differs from what was committed."""

    uri: str
    """The store."""
    shard: int | None
    """Number of the shard, None for metadata of the whole store."""
    key: str
    """Key of the object, relative to the store."""
    expected: str
    found: str

    @property
    def message(self) -> str:
        """The problem as an error message: rule, fact, remedy."""
        whose = "the metadata" if self.shard is None else f"shard {self.shard}"
        remedy = (
            "use the release of numpy that wrote it, or compute a store with its noise stored"
            if self.key == NOISE
            else f"run `advkd cache repair {quote(self.uri)}` to recompute it"
        )
        return (
            f"every object of a store must be what was committed, but in {whose} of {self.uri} {self.key} is not: "
            f"expected {self.expected}, found {self.found}; {remedy}"
        )


def missing_problem(uri: str, shard: int | None, entry: ObjectEntry) -> ShardProblem:
    """Returns the problem of a missing object."""
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=f"{entry.size} bytes", found="nothing")


def size_problem(uri: str, shard: int | None, entry: ObjectEntry, size: int) -> ShardProblem | None:
    """Returns the problem of an object of `size` bytes if this is not the expected size, else None."""
    if size == entry.size:
        return None
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=f"{entry.size} bytes", found=f"{size} bytes")


def hash_problem(uri: str, shard: int | None, entry: ObjectEntry, parts: Iterable[Buffer]) -> ShardProblem | None:
    """Returns the problem of an object if its content, given as parts in order, has another sha256, else None."""
    actual = hashlib.sha256()
    for part in parts:
        actual.update(part)
    if actual.hexdigest() == entry.sha256:
        return None
    expected, got = f"sha256 {entry.sha256}", f"sha256 {actual.hexdigest()}"
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=expected, found=got)
