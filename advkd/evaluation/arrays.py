"""Arrays that are expensive to compute, kept under the digest of what determines them: `.npz` files without pickle.

Nothing is read on trust: a file that is damaged or holds something else counts as missing.
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
    """16 hex digits that name whatever these facts determine."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def pack_arrays(facts: Mapping[str, object], arrays: Arrays) -> bytes:
    """An `.npz` file without pickle, whose entry `facts` says what the arrays are of."""
    buffer = io.BytesIO()
    entries: dict[str, Any] = {"facts": np.array(json.dumps(facts, sort_keys=True)), **arrays}
    np.savez(buffer, **entries)
    return buffer.getvalue()


def write_arrays(uri: str, facts: Mapping[str, object], arrays: Arrays) -> None:
    """Writes `pack_arrays`, all or nothing."""
    write_bytes(uri, pack_arrays(facts, arrays))


def read_arrays(uri: str, facts: Mapping[str, object]) -> dict[str, Array] | None:
    """The arrays at `uri` if they are of these facts, whole (zip checksums) and finite; else None: compute them."""
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
