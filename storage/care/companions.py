"""What the stores of a root share: where it lies, how it travels, and what no store names any more.

    <root>/decoders/<sha256>/     the autoencoder of all stores whose space has this sha256
    <root>/embeddings/<sha256>/   the embeddings of the prompts of all stores whose conditioning has this sha256

A store names both in its spec. Removing a store leaves them, because others may name them; `storage.care.garbage`
collects those that none does.
"""

import hashlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.care.listing import list_stores
from storage.folders import fetch_folder, publish_folder, read_contents, remove_published
from storage.objects import ObjectInfo, join, list_folders, list_objects, local_folder
from storage.records import TrajectorySpec
from storage.writing import CLAIMS, folder_claim

DECODERS, EMBEDDINGS = "decoders", "embeddings"
_GOING = ".going-"
_COMING = ".coming-"


@dataclass(frozen=True)
class UnusedCompanion:
    """An autoencoder or embeddings that no store of its root names; `since` is the time of the youngest file."""

    uri: str
    files: tuple[ObjectInfo, ...]
    since: float


def decoder_uri(root: str, sha256: str) -> str:
    """Returns where the autoencoder with this content is kept for the stores of a root."""
    return join(root or ".", DECODERS, sha256)


def embeddings_uri(root: str, conditioning: Mapping[str, Any]) -> str:
    """Returns where the embeddings of the prompts with these facts are kept for the stores of a root."""
    sha256 = hashlib.sha256(json.dumps(dict(conditioning), sort_keys=True).encode()).hexdigest()
    return join(root or ".", EMBEDDINGS, sha256)


def companions_of(spec: TrajectorySpec, root: str) -> list[str]:
    """Returns the URIs of what a store of a root names."""
    space, conditioning = spec.space or {}, spec.conditioning or {}
    named = []
    if space.get("kind") == "autoencoder" and "sha256" in space:
        named.append(decoder_uri(root, str(space["sha256"])))
    if conditioning.get("kind") == "prompts":
        named.append(embeddings_uri(root, conditioning))
    return named


def is_kept(uri: str) -> bool:
    """Returns whether a kept folder is there, whole."""
    here = local_folder(uri)
    return read_contents(uri) is not None if here is None else here.is_dir()


def carry_companions(spec: TrajectorySpec, root: str, new_root: str) -> None:
    """Copies what a store names from one root to another.

    Not copied is what the old root has lost, or the new one has.

    Raises:
        StoreError: it cannot be read or written.
    """
    for source, target in zip(companions_of(spec, root), companions_of(spec, new_root), strict=True):
        if is_kept(source) and not is_kept(target):
            _carry(source, target)


def _carry(source: str, target: str) -> None:
    with tempfile.TemporaryDirectory(prefix="advkd-") as scratch:
        folder = local_folder(source)
        if folder is None:
            folder = Path(scratch, "copy")
            fetch_folder(source, folder)
        here = local_folder(target)
        if here is None:
            publish_folder(folder, target)
        else:
            _copy_whole(folder, here)


def unused_companions(root: str) -> Iterator[UnusedCompanion]:
    """Yields the autoencoders and embeddings below a root that no store names.

    None while a store cannot be read, which may name any, nor one that a process is writing.
    """
    places = (join(root, kind, name) for kind in (DECODERS, EMBEDDINGS) for name in list_folders(join(root, kind)))
    kept = {uri for uri in places if is_kept(uri)}
    if not kept:
        return
    named = _named(root)
    if named is None:
        return
    for uri in sorted(kept - named):
        files = tuple(list_objects(uri))
        if CLAIMS.holder(folder_claim(uri)) is None:
            yield UnusedCompanion(uri, files, max((file.modified for file in files), default=float("inf")))


def is_unused(uri: str) -> bool:
    """Returns whether still no store of its root names the autoencoder or the embeddings at a URI."""
    named = _named(uri.rpartition("/")[0].rpartition("/")[0] or ".")
    return named is not None and uri not in named


def remove_companion(uri: str) -> None:
    """Removes a kept folder; readers see it whole or not at all meanwhile."""
    here = local_folder(uri)
    if here is None:
        remove_published(uri)
        return
    going = here.with_name(f"{_GOING}{here.name}")
    shutil.rmtree(going, ignore_errors=True)
    here.rename(going)
    shutil.rmtree(going)


def _named(root: str) -> set[str] | None:
    """Returns what the stores of a root name; None if one of them cannot be read."""
    named: set[str] = set()
    for store in list_stores(root):
        if store.spec is None:
            return None
        named |= set(companions_of(store.spec, root))
    return named


def _copy_whole(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{_COMING}{secrets.token_hex(8)}")
    # Contents alone: a folder's mode is that of this user's umask.
    partial.mkdir()
    try:
        shutil.copytree(folder, partial, dirs_exist_ok=True, copy_function=shutil.copyfile)
        try:
            partial.rename(target)
        except OSError:
            # Another process was faster with the same files.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
