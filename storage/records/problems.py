"""What is wrong with one object of a store, told in one form whoever finds it: `verify` or a reader."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import Buffer

from storage.records.fields import ObjectEntry
from storage.records.unstored_noise import NOISE


@dataclass(frozen=True, kw_only=True)
class ShardProblem:
    """One object that is not what was committed."""

    uri: str
    """The store."""
    shard: int | None
    """None for metadata of the whole store."""
    key: str
    """The object, relative to the store."""
    expected: str
    found: str

    @property
    def message(self) -> str:
        """Rule, fact, remedy."""
        whose = "the metadata" if self.shard is None else f"shard {self.shard}"
        remedy = (
            "use the release of numpy that wrote it, or compute a store with its noise stored"
            if self.key == NOISE
            else f"run `advkd cache repair {self.uri}` to recompute it"
        )
        return (
            f"every object of a store must be what was committed, but in {whose} of {self.uri} {self.key} is not: "
            f"expected {self.expected}, found {self.found}; {remedy}"
        )


def missing_problem(uri: str, shard: int | None, entry: ObjectEntry) -> ShardProblem:
    """An object is not there."""
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=f"{entry.size} bytes", found="nothing")


def size_problem(uri: str, shard: int | None, entry: ObjectEntry, size: int) -> ShardProblem | None:
    """What is wrong with an object of so many bytes, or None."""
    if size == entry.size:
        return None
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=f"{entry.size} bytes", found=f"{size} bytes")


def hash_problem(uri: str, shard: int | None, entry: ObjectEntry, parts: Iterable[Buffer]) -> ShardProblem | None:
    """What is wrong with the content of an object, given in order and in any number of parts, or None."""
    actual = hashlib.sha256()
    for part in parts:
        actual.update(part)
    if actual.hexdigest() == entry.sha256:
        return None
    expected, got = f"sha256 {entry.sha256}", f"sha256 {actual.hexdigest()}"
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=expected, found=got)
