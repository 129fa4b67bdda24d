"""Tells from a key what an object is to its store: records and layouts write these keys and no others."""

import re
from enum import Enum

from storage.layouts import layout_of
from storage.records import IDENTITY, MANIFEST, TrajectorySpec, commit_uri, copy_key
from storage.writing import claim_uri

_COMMIT = re.compile(r"commits/([0-9]+)\.json")
# With sixteen digits: the object by which one of several runs replaces a void claim.
_CLAIM = re.compile(r"(claims/([0-9]+)\.json)(\.[0-9a-f]{16})?")
_COPY = re.compile(r"seals/([0-9]+)\.json")
_PAGE = re.compile(r"index/[0-9]{6,}-[0-9a-f]{16}\.npy")
_NUMBER = re.compile(r"\{shard[^}]*\}")


class Role(Enum):
    """What an object is to its store; the values are for people."""

    MANIFEST = "manifest"
    COMMIT = "commit record"
    CLAIM = "claim of a run at work"
    DATA = "data object"
    PAGE = "index page"
    COPY = "copy of the manifest"
    METADATA = "metadata"
    IDENTITY = "identity"
    FOREIGN = "foreign object"


class StoreKeys:
    """The keys of a spec's store."""

    def __init__(self, spec: TrajectorySpec) -> None:
        layout = layout_of(spec)
        self._named = dict.fromkeys(layout.metadata(spec, spec.shard_samples), Role.METADATA)
        self._named |= {MANIFEST: Role.MANIFEST, IDENTITY: Role.IDENTITY}
        self._data = [(*_NUMBER.split(template), template) for template in layout.templates(spec)]

    def role(self, key: str) -> Role:
        """Returns the role of the object with this key; `FOREIGN` if this package never writes the key."""
        if key in self._named:
            return self._named[key]
        if (match := _COMMIT.fullmatch(key)) and commit_uri("", int(match.group(1))) == f"/{key}":
            return Role.COMMIT
        if (match := _CLAIM.fullmatch(key)) and claim_uri("", int(match.group(2))) == f"/{match.group(1)}":
            return Role.CLAIM
        if (match := _COPY.fullmatch(key)) and copy_key(int(match.group(1))) == key:
            return Role.COPY
        if _PAGE.fullmatch(key):
            return Role.PAGE
        return Role.FOREIGN if self.shard(key) is None else Role.DATA

    def shard(self, key: str) -> int | None:
        """Returns the number of the shard that a data object belongs to, None for any other key."""
        for before, after, template in self._data:
            number = key[len(before) : len(key) - len(after)]
            if number.isascii() and number.isdigit() and template.format(shard=int(number)) == key:
                return int(number)
        return None
