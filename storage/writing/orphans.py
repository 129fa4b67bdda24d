"""Claims whose process was on this machine and is gone: they hold nobody up, and may be given back."""

import json
import re
from collections.abc import Iterator

from storage.errors import StoreError
from storage.objects import join, list_objects, read_bytes
from storage.writing.claims import CLAIMS, Claim, is_folder_claim

_SHARD_CLAIM = re.compile(r"(^|/)claims/[0-9]+\.json$")


def orphaned_claims(root: str) -> Iterator[str]:
    """Yields the URIs of the claims below a root whose process was on this machine and is gone."""
    for entry in list_objects(root):
        if is_folder_claim(entry.key) or _SHARD_CLAIM.search(entry.key):
            uri = join(root, entry.key)
            if _is_dead(uri):
                yield uri


def give_back(uri: str) -> bool:
    """Takes an orphaned claim over, as a run would, and gives it back; returns False if another run was faster."""
    if not _is_dead(uri) or CLAIMS.take(uri) is not None:
        return False
    CLAIMS.release(uri)
    return True


def _is_dead(uri: str) -> bool:
    try:
        return Claim(**json.loads(read_bytes(uri))).is_dead()
    except (StoreError, ValueError, TypeError):
        return False
