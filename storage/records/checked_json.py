"""JSON records with a checksum: the last key is the sha256 of all bytes before it.

`json.load` and `jq` read them like any other file. A changed byte is detected before a value is used, so damage is
distinguished from a record of another release. Parsing is strict: no duplicate keys, no NaN or infinity, at most 64
levels, no integer beyond 10**100. So the code that uses a record need not fear deep nesting or huge numbers.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from storage.errors import ManifestError

_CHECK = "sha256"
_DEEPEST = 64
_LARGEST_INTEGER = 10**100


class DamagedRecordError(ManifestError):
    """The bytes of a record are not those that were written."""


def dump_checked(value: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """Returns the record as UTF-8 JSON that ends with its own hash.

    Raises:
        ValueError: the record has no keys, or a key "sha256", or holds NaN or infinity.
    """
    if not value or _CHECK in value:
        raise ValueError(f'a record must have keys, none of them "{_CHECK}", got {sorted(value)}; rename the key')
    body = json.dumps(value, indent=indent, allow_nan=False).removesuffix("}").rstrip().encode()
    return body + _tail(body)


def load_checked(data: bytes) -> dict[str, Any]:
    """Parses a record that `dump_checked` wrote, and returns it without its hash.

    Raises:
        DamagedRecordError: the bytes do not end with their own hash.
        ManifestError: the hash is right, but the bytes are no strict JSON object.
    """
    body = data[: -len(_tail(b""))]
    if not body or data[len(body) :] != _tail(body):
        raise DamagedRecordError(
            f"a record must end with the sha256 of all bytes before it, and these {len(data)} bytes do not; they were "
            "changed since, or never written by this package: repair the store, or restore the file"
        )
    value = load_strict(data)
    if not isinstance(value, dict):
        raise ManifestError(f"a record must be a JSON object, got {type(value).__name__}; the file is foreign")
    del value[_CHECK]
    return value


def load_strict(data: bytes) -> Any:
    """Parses JSON; raises `ManifestError` for bytes that are no JSON, or JSON that can be read in two ways."""
    try:
        value = json.loads(data.decode(), parse_constant=_refused_constant, object_pairs_hook=_without_duplicates)
        _refuse_extremes(value)
    except ValueError as error:
        raise ManifestError(f"a record must be strict JSON in UTF-8, got {error}; the file is foreign") from error
    except RecursionError:
        raise ManifestError(f"a record must be strict JSON, got {_TOO_DEEP}; the file is foreign") from None
    return value


def _tail(body: bytes) -> bytes:
    return f',\n"{_CHECK}": "{hashlib.sha256(body).hexdigest()}"}}\n'.encode()


_TOO_DEEP = f"one that is nested deeper than {_DEEPEST} levels"


def _refuse_extremes(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(_TOO_DEEP)
        for item in level:
            infinite = isinstance(item, float) and math.isinf(item)
            if infinite or (isinstance(item, int) and abs(item) > _LARGEST_INTEGER):
                raise ValueError("a number beyond all that records hold")
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [below for inner in containers for below in (inner.values() if isinstance(inner, dict) else inner)]


def _refused_constant(name: str) -> Any:
    raise ValueError(f"the number {name}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the keys {sorted(key for key in value if keys.count(key) > 1)} more than once")
    return value
