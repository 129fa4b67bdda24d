"""Caches expensive arrays in `.npz` files without pickle, named by the digest of what determines them.

A file that is damaged or holds something else counts as missing.
"""

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.errors import StoreNotFoundError
from storage.objects import read_bytes, write_bytes

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


def content_digest(facts: Mapping[str, object]) -> str:
    """Returns a digest of the facts, 16 hex digits."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def pack_arrays(facts: Mapping[str, object], arrays: Arrays) -> bytes:
    """Returns an `.npz` file without pickle, with the facts in its entry `facts`."""
    buffer = io.BytesIO()
    entries: dict[str, Any] = {"facts": np.array(json.dumps(facts, sort_keys=True)), **arrays}
    np.savez(buffer, **entries)
    return buffer.getvalue()


def write_arrays(uri: str, facts: Mapping[str, object], arrays: Arrays) -> None:
    """Writes the result of `pack_arrays`, all or nothing."""
    write_bytes(uri, pack_arrays(facts, arrays))


def read_arrays(uri: str, facts: Mapping[str, object]) -> dict[str, Array] | None:
    """Reads the arrays at `uri`; returns None unless they have these facts, are intact (zip checksums) and finite."""
    try:
        data = read_bytes(uri)
    except StoreNotFoundError:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        stored_facts = json.loads(str(arrays.pop("facts")))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("%s is damaged (%s) and is computed again", uri, type(error).__name__)
        return None
    finite = all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")
    if stored_facts != json.loads(json.dumps(facts)) or not finite:
        logger.warning("%s holds something else and is computed again", uri)
        return None
    return arrays
